"""GGUF files: the whole header checked against the file's size before anything is believed.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput

_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_DEPTH_LIMIT = 4
# Vocabulary and merges are all that makes a header large; 256 thousand tokens take 12 MB.
_HEADER_LIMIT = 128 << 20


@dataclass(frozen=True)
class GGUFTensor:
    """One tensor: ggml type, shape as numpy has it (slowest axis first), place of its bytes."""

    name: str
    kind: int
    shape: tuple[int, ...]
    begin: int
    size: int


@dataclass
class GGUFFile:
    """What a GGUF file says of itself; `load` reads one tensor."""

    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, GGUFTensor] = field(default_factory=dict)

    def load(self, name: str) -> Any:
        """Return a tensor dequantized to float32."""
        import gguf
        import numpy as np

        tensor = self.tensors[name]
        raw = np.fromfile(self.path, dtype=np.uint8, count=tensor.size, offset=tensor.begin)
        values = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(tensor.kind))
        return values.astype(np.float32, copy=False).reshape(tensor.shape)


def read_gguf(path: Path) -> GGUFFile:
    """Return the header of a GGUF file; raise BrokenInput naming what is wrong with it."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        cursor = _Cursor(path, handle.read(_HEADER_LIMIT))
    if cursor.data[:4] != b"GGUF":
        raise cursor.broken("it does not begin with GGUF")
    cursor.at = 4
    version = cursor.scalar("I")
    if version not in (2, 3):
        raise cursor.broken(f"its version is {version}; versions 2 and 3 are known")
    tensors, pairs = cursor.scalar("Q"), cursor.scalar("Q")
    found = GGUFFile(path)
    for _ in range(cursor.count(pairs, 13)):
        key = cursor.text()
        found.metadata[key] = cursor.value(cursor.scalar("I"), 0)
    entries = [cursor.tensor() for _ in range(cursor.count(tensors, 24))]
    alignment = found.metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise cursor.broken(f"its alignment is {alignment!r}")
    base = math.ceil(cursor.at / alignment) * alignment
    for entry in entries:
        end = base + entry.begin + entry.size
        if end > size:
            raise cursor.broken(
                f"it is truncated: tensor {entry.name!r} ends at byte {end}, the file has {size}"
            )
        found.tensors[entry.name] = GGUFTensor(
            entry.name, entry.kind, entry.shape, base + entry.begin, entry.size
        )
    if len(found.tensors) != len(entries):
        raise cursor.broken("two of its tensors have the same name")
    return found


class _Cursor:
    """Reads little-endian values and never past the end."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data, self.at = path, data, 0

    def broken(self, cause: str) -> BrokenInput:
        return BrokenInput(
            f"is no intact GGUF file: {cause}", place=str(self.path), cure="get the file again"
        )

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise self.broken(f"its header ends inside a value at byte {self.at}")
        self.at += length
        return self.data[self.at - length : self.at]

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, number: int, least: int) -> int:
        """Return a number of things that take at least so many bytes each, if they can be there."""
        if number * least > len(self.data) - self.at:
            raise self.broken(f"it claims {number} entries at byte {self.at}")
        return number

    def text(self) -> str:
        raw = self.take(self.scalar("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.broken(f"a text before byte {self.at} is no UTF-8") from None

    def value(self, kind: int, depth: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth == _DEPTH_LIMIT:
            raise self.broken(f"a value at byte {self.at} has the unknown type {kind}")
        inner, length = self.scalar("I"), self.scalar("Q")
        if code := _SCALARS.get(inner):
            raw = self.take(self.count(length, struct.calcsize("<" + code)) * struct.calcsize(code))
            return list(struct.unpack(f"<{length}{code}", raw))
        return [self.value(inner, depth + 1) for _ in range(self.count(length, 8))]

    def tensor(self) -> GGUFTensor:
        import gguf

        name, axes = self.text(), self.scalar("I")
        if not 1 <= axes <= 4:
            raise self.broken(f"tensor {name!r} has {axes} axes")
        shape = tuple(reversed([self.scalar("Q") for _ in range(axes)]))
        kind, offset = self.scalar("I"), self.scalar("Q")
        try:
            block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        except (KeyError, ValueError):
            raise self.broken(f"tensor {name!r} has the unknown type {kind}") from None
        if shape[-1] % block:
            raise self.broken(f"the rows of tensor {name!r} do not fill blocks of {block}")
        return GGUFTensor(name, kind, shape, offset, math.prod(shape) // block * size)
