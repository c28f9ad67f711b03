"""A user's own texts: the files of a folder, read within bounds, and what was left out and why."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weightcut.data.corpus import Document, Split, documents
from weightcut.errors import BrokenInput, UsageError

LARGEST = 1 << 20
"""Bytes of one file; a larger one is data or generated, and would drown the others."""
ENOUGH = 16 << 20
"""Bytes of all files together; more would only cost time."""
LEARNT_FROM: tuple[Split, ...] = ("calibration", "prose", "training", "validation")


@dataclass(frozen=True)
class Texts:
    """Documents in order of name; skipped: (name, reason) of each file that was left out."""

    documents: tuple[Document, ...]
    skipped: tuple[tuple[str, str], ...]


def read_texts(path: Path, pattern: str = "*", enough: int = ENOUGH) -> Texts:
    """Return the UTF-8 texts of a file, or of a folder's files whose names match `pattern`.

    Hidden files and folders are passed over and links are not followed. Left out, and named: what
    is binary (a NUL byte), no UTF-8, empty, unreadable, over LARGEST bytes, or the very text of a
    document that models are calibrated or trained on here. Where the files hold more than `enough`
    bytes, a part is read that depends on their names alone. No text at all raises UsageError.
    """
    if not path.exists():
        raise UsageError("there is no such text file or folder", place=str(path))
    found: list[Document] = []
    skipped: list[tuple[str, str]] = []
    left, over = enough, 0
    for name, file in _files(path, pattern):
        if left <= 0:
            over += 1
            continue
        try:
            text = _text(file)
        except (BrokenInput, OSError) as error:
            why = error.cause if isinstance(error, BrokenInput) else str(error.strerror)
            skipped.append((name, why))
            continue
        split = _learnt().get(content_digest(text))
        if split is not None:
            skipped.append((name, f"is also a {split} text"))
            continue
        left -= len(text.encode())
        found.append(Document(name, text))
    if over:
        skipped.append((f"{over} further files", f"{enough >> 20} MiB of text are enough"))
    if not found:
        first = f"; the first file left out, {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
        raise UsageError(
            f"no text that can be measured{first}",
            place=str(path if path.is_file() else path / pattern),
            cure="name a folder of UTF-8 texts that no model was calibrated or trained on",
        )
    return Texts(tuple(sorted(found, key=lambda one: one.name)), tuple(sorted(skipped)))


def content_digest(text: str) -> str:
    """Return a digest that ends of lines, and white space at them, do not change."""
    lines = (line.rstrip() for line in text.strip().splitlines())
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


@cache
def _learnt() -> dict[str, Split]:
    return {content_digest(one.text): split for split in LEARNT_FROM for one in documents(split)}


def _files(path: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield names and paths, in an order that spreads over the folder and is always the same."""
    if path.is_file():
        yield path.name, path
        return
    found = []
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            file = Path(folder) / name
            if fnmatch.fnmatch(name, pattern) and not name.startswith(".") and _plain(file):
                found.append((file.relative_to(path).as_posix(), file))
    yield from sorted(found, key=lambda one: hashlib.sha256(os.fsencode(one[0])).digest())


def _plain(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()


def _text(file: Path) -> str:
    with file.open("rb") as stream:
        raw = stream.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise BrokenInput(f"is larger than {LARGEST >> 20} MiB")
    if b"\0" in raw:
        raise BrokenInput("is binary")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenInput(f"is no UTF-8 (byte {error.start})") from error
    if not text.strip():
        raise BrokenInput("is empty")
    return text.replace("\r\n", "\n")
