"""What every method must carry along or can tell of a Hugging Face folder without loading it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput
from weightcut.models.companions import companions

_EMBEDDINGS = ("embed_tokens.", "embed_in.", "word_embeddings.", "wte.", "wpe.", "embed_positions.")
_HEADS = ("lm_head.", "embed_out.", "output_layer.")
_MAX_HEADER = 100_000_000


def copy_companions(source: Path, out: Path) -> tuple[str, ...]:
    """Copy what belongs to a model beside its weights and config.json; return the names copied.

    That is the tokenizer's files, the chat template, generation_config.json and the licence.
    A file that is already in `out` is overwritten.
    """
    found = companions(source)
    for path in found:
        shutil.copyfile(path, out / path.name)
    return tuple(path.name for path in found)


def safetensors_files(folder: Path) -> list[Path]:
    """Return the folder's weight files in safetensors form; BrokenInput where it has none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BrokenInput("there is no *.safetensors file", place=str(folder))
    return files


def tensors(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and header entry (`dtype`, `shape`, `data_offsets`) of every stored tensor.

    Reads the headers alone. Source: the safetensors format, 8 bytes of little-endian header
    length, then JSON.
    """
    for path in safetensors_files(folder):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(_MAX_HEADER, path.stat().st_size):
                raise BrokenInput("the safetensors header is corrupt", place=str(path))
            try:
                header = json.loads(file.read(length))
            except ValueError as error:
                raise BrokenInput("the safetensors header is corrupt", place=str(path)) from error
        yield from ((name, entry) for name, entry in header.items() if name != "__metadata__")


def bytes_by_part(folder: Path) -> dict[str, int]:
    """Return the bytes of the stored weights by part: embedding, layers, head, other.

    A tied head is stored once, as the embedding, and counts 0 as a head.
    """
    parts = {"embedding": 0, "layers": 0, "head": 0, "other": 0}
    for name, entry in tensors(folder):
        begin, end = entry["data_offsets"]
        parts[part_of(name)] += end - begin
    return parts


def part_of(name: str) -> str:
    """Return the part that a weight of this name belongs to: embedding, layers, head or other."""
    if any(f".{head}" in f".{name}" for head in _HEADS):
        return "head"
    pieces = name.split(".")
    if any(piece.isdigit() for piece in pieces[:-1]):
        return "layers"
    if any(f".{part}" in f".{name}" for part in _EMBEDDINGS):
        return "embedding"
    return "other"
