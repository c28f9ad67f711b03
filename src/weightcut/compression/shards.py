"""Read and write safetensors tensor by tensor, so that no model need fit into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weightcut.models.folder import weight_files
from weightcut.models.safetensors import read_header

SHARD = 500_000_000
_INDEX = "model.safetensors.index.json"


def read_tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and tensor of all of a model's safetensors files, from headers that were checked.

    The bytes are read, not mapped: pages of a mapped file would count as memory in use.
    """
    import torch

    kinds = _kinds()
    for path in weight_files(folder):
        header = read_header(path)
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            for name, info in sorted(header.items(), key=lambda item: item[1].begin):
                raw = bytearray(info.end - info.begin)
                file.seek(start + info.begin)
                file.readinto(raw)
                kind = kinds[info.dtype]
                flat = torch.frombuffer(raw, dtype=kind) if raw else torch.empty(0, dtype=kind)
                yield name, flat.reshape(info.shape)


class ShardWriter:
    """Collects tensors and writes a safetensors file whenever SHARD bytes are together."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._waiting: dict[str, Any] = {}
        self._bytes = 0
        self._shards: list[list[str]] = []
        self._total = 0

    def add(self, name: str, tensor: Any) -> None:
        """Take one tensor."""
        if self._waiting and self._bytes + tensor.nbytes > SHARD:
            self._flush()
        self._waiting[name] = tensor.contiguous()
        self._bytes += tensor.nbytes

    def close(self) -> None:
        """Write what is left, give the files their names, and write the index if there are many."""
        if self._waiting:
            self._flush()
        count = len(self._shards)
        if count == 1:
            self._draft(0).rename(self._out / "model.safetensors")
            return
        places = dict[str, str]()
        for number, names in enumerate(self._shards):
            shard = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
            self._draft(number).rename(self._out / shard)
            places |= dict.fromkeys(names, shard)
        index = {"metadata": {"total_size": self._total}, "weight_map": places}
        (self._out / _INDEX).write_text(json.dumps(index, indent=2))

    def _flush(self) -> None:
        from safetensors.torch import save_file

        save_file(self._waiting, self._draft(len(self._shards)), metadata={"format": "pt"})
        self._shards.append(list(self._waiting))
        self._total += self._bytes
        self._waiting, self._bytes = {}, 0

    def _draft(self, number: int) -> Path:
        return self._out / f"part-{number}.safetensors"


def _kinds() -> dict[str, Any]:
    """Return torch's types by the names of the format; packed ones of 4 and 6 bits have none."""
    import torch

    return {
        "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
        "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
        "F32": torch.float32, "F64": torch.float64, "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }  # fmt: skip
