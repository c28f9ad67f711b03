"""Digests of files and folders, remembered so that a large model is read once."""

from __future__ import annotations

import contextlib
from pathlib import Path

from weightcut import files, settings
from weightcut.errors import BrokenInput
from weightcut.records import digest

# What weightcut itself notes beside a model is not part of the model.
NOTE = "weightcut.json"


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, from memory where its size and time are the same."""
    status = path.stat()
    key = digest([str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino])
    memory = settings.home() / "digests" / key[:2] / key
    if memory.is_file() and len(found := memory.read_text()) == 64:
        return found
    found = files.file_digest(path)
    # A cache folder that cannot be written costs time, nothing else.
    with contextlib.suppress(OSError):
        files.write_whole(memory, found.encode())
    return found


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 (hex) over the sorted names and digests of a folder's files.

    Hidden files and weightcut's own note do not count. Links that lead out of the folder are
    followed: what they hold is what an engine would load.
    """
    return digest({name: file_digest(folder / name) for name in names(folder)})


def names(folder: Path) -> list[str]:
    """Return the names of a folder's files relative to it, sorted, without hidden ones and NOTE."""
    if not folder.is_dir():
        raise BrokenInput("is no folder", place=str(folder))
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        name.as_posix()
        for name in found
        if not any(part.startswith(".") for part in name.parts) and name.as_posix() != NOTE
    )


def folder_bytes(folder: Path) -> int:
    """Return the bytes of the files that count for the digest."""
    return sum((folder / name).stat().st_size for name in names(folder))
