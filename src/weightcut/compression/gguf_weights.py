"""Quantize the weights of a GGUF file with llama.cpp, and tell what came of each of them."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
from pathlib import Path
from typing import Any

from weightcut.compression.export_gguf import FILE, PACKAGES
from weightcut.compression.method import Context, Requirements
from weightcut.errors import BrokenInput, NotHere
from weightcut.models.gguf_file import read_gguf
from weightcut.models.llama_library import last_words, listening, load_library


def requirements(bits: float) -> Requirements:
    """Return what quantizing with llama.cpp needs; it works tensor after tensor."""
    return Requirements(
        packages=PACKAGES,
        extra="gguf",
        memory_per_weight=1.0,
        base_memory=400_000_000,
        seconds_per_weight=1e-7,
        base_seconds=2.0,
        disk_per_weight=bits / 8,
        outer_bits=bits,
    )


def quantize(source: Path, out: Path, context: Context, kind: str) -> None:
    """Write the GGUF file of `source` to `out` with weights of llama.cpp's type `kind`: `Q4_K_M`.

    NotHere where llama.cpp refuses; BrokenInput where the file is damaged.
    """
    library = load_library()
    path = source / FILE
    if not path.is_file():
        raise BrokenInput(f"there is no {FILE}", place=str(source))
    read_gguf(path)  # llama.cpp itself trusts what a file says of its sizes
    context.progress(f"rounding weights to {kind}", None)
    settings = library.llama_model_quantize_default_params()
    settings.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{kind}")
    settings.nthread = os.cpu_count() or 1
    with listening() as said:
        code = library.llama_model_quantize(
            str(path).encode(), str(out / FILE).encode(), ctypes.byref(settings)
        )
        why = last_words(said)
    if code or not (out / FILE).is_file():
        raise NotHere(f"llama.cpp cannot quantize this model to {kind}: {why}")
    for beside in sorted(source.iterdir()):
        if beside.is_file() and beside.name not in (FILE, "weightcut.json"):
            shutil.copyfile(beside, out / beside.name)
    context.record.update(tell(out / FILE))


def tell(path: Path) -> dict[str, Any]:
    """Return what an artifact's record says: the weights by type, bits for each weight, bytes."""
    import gguf

    header = read_gguf(path)
    kinds: dict[str, list[str]] = {}
    weights = size = 0
    for tensor in header.tensors.values():
        if len(tensor.shape) > 1:
            kinds.setdefault(gguf.GGMLQuantizationType(tensor.kind).name, []).append(tensor.name)
            size += tensor.size
            weights += math.prod(tensor.shape)
    return {
        "weights": dict(sorted(kinds.items())),
        "bits_per_weight": 8 * size / max(1, weights),
        "weights_bytes": path.stat().st_size,
    }
