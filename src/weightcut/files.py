"""Writing folders whole or not at all, and telling files apart by digest."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_files(folder: Path) -> list[Path]:
    """Return the folder's plain files at any depth, sorted by relative name; links are refused."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path} is a link")
        if path.is_file():
            found.append(path)
    return found


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `target`; on success sync it and rename it to `target`.

    On an exception, a kill or a full disk `target` does not appear.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_draft_prefix(target), dir=target.parent))
    try:
        yield draft
        for path in folder_files(draft):
            sync(path)
        sync(draft)
        draft.chmod(0o755)
        draft.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(target: Path) -> None:
    """Remove what whole_folder has left of `target` in processes that were killed.

    Nobody may be writing it: whoever calls this holds its lock.
    """
    for path in target.parent.iterdir():
        if path.name.startswith(_draft_prefix(target)) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:32]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Force a file's or folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, say: Callable[[str], None] = lambda _phrase: None) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it; it ends with the process at the latest.

    say: is told once who is waited for, where somebody is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            say(f"waiting for process {stream.read().strip() or 'unknown'}, which is at work on it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        with suppress(OSError):  # a full disk: the next one is not told whom it waits for
            os.ftruncate(stream.fileno(), 0)
            os.write(stream.fileno(), str(os.getpid()).encode())
        yield


def _draft_prefix(target: Path) -> str:
    return f".{target.name[:32]}."
