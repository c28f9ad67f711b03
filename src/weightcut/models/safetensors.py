"""Safetensors files: a header checked before it is believed, and a writer that streams.

Format: 8 bytes little-endian header length, a JSON header, then the tensors' bytes without gaps
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput

# Bits per element; F4 and F6 are packed.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
_HEADER_LIMIT = 100_000_000


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: type as the format names it, shape, place after the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return the tensors of a file after checking every length and offset against its size.

    Raises BrokenInput that names the file and what is wrong with it.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise _broken(path, f"its header claims {length} bytes and the file has {size}")
        raw = handle.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is no JSON object")
    tensors = {
        name: _tensor(path, name, entry) for name, entry in header.items() if name != "__metadata__"
    }
    _check_layout(path, tensors, size - 8 - length)
    return tensors


def _tensor(path: Path, name: str, entry: Any) -> TensorInfo:
    try:
        begin, end = entry["data_offsets"]
        info = TensorInfo(entry["dtype"], tuple(entry["shape"]), begin, end)
        numbers = (*info.shape, begin, end)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise TypeError("a shape or offset is no natural number")
        expected = (info.elements * _BITS[info.dtype] + 7) // 8
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the entry of tensor {name!r} is malformed ({error!r})") from error
    if end - begin != expected:
        raise _broken(
            path,
            f"tensor {name!r} needs {expected} bytes for {info.dtype} {list(info.shape)} and its "
            f"offsets span {end - begin}",
        )
    return info


def _check_layout(path: Path, tensors: Mapping[str, TensorInfo], data: int) -> None:
    at = 0
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if info.begin != at:
            raise _broken(path, f"tensor {name!r} starts at byte {info.begin}, not at {at}")
        at = info.end
    if at != data:
        kind = "truncated" if at > data else "followed by other bytes"
        raise _broken(path, f"it is {kind}: its tensors need {at} bytes, {data} are there")


def _broken(path: Path, cause: str) -> BrokenInput:
    return BrokenInput(
        f"is no intact safetensors file: {cause}", place=str(path), cure="get the file again"
    )


def write_bfloat16(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, Any]]
) -> None:
    """Write a file of bf16 tensors, one at a time, so that no more than one is in memory.

    shapes: every tensor, in the order in which `tensors` will give it. tensors: names with
    float32 arrays, rounded here to the nearest bf16 (ties to even).
    """
    import numpy as np

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little"))
        handle.write(text)
        for (expected, shape), (name, values) in zip(shapes.items(), tensors, strict=True):
            if name != expected or tuple(values.shape) != shape:
                raise ValueError(f"expected {expected} {shape}, got {name} {values.shape}")
            bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
            rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
            handle.write((rounded >> np.uint32(16)).astype("<u2").tobytes())
