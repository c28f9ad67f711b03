"""Read and write the files of an ONNX model folder, with errors that say what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput

GRAPH, WEIGHTS = "model.onnx", "model.onnx.data"
PACKAGES = ("onnx", "onnxruntime", "onnxruntime_genai", "onnx_ir")


def read_graph(folder: Path) -> Any:
    """Return the ONNX model of a folder with its weights; BrokenInput where it cannot be read."""
    import onnx
    from google.protobuf.message import DecodeError

    if not (folder / GRAPH).is_file():
        raise BrokenInput(f"there is no {GRAPH}", place=str(folder))
    try:
        return onnx.load(folder / GRAPH)
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BrokenInput(
            f"the ONNX model cannot be read: {said}", place=str(folder / GRAPH)
        ) from error


def save_graph(graph: Any, out: Path) -> None:
    """Write an ONNX model into a folder, its weights in a file beside it."""
    import onnx

    onnx.save_model(
        graph,
        out / GRAPH,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=WEIGHTS,
        size_threshold=1024,
    )


def copy_beside(source: Path, out: Path) -> None:
    """Copy every file of an ONNX folder but the model itself (tokenizer, configs, licence)."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in (GRAPH, WEIGHTS, "weightcut.json"):
            shutil.copyfile(path, out / path.name)


def stored_bytes(folder: Path) -> int:
    """Return the bytes of graph and weights."""
    return sum((folder / name).stat().st_size for name in (GRAPH, WEIGHTS))
