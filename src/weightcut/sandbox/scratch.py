"""A folder that hostile code has written to: emptying it, reading from it."""

from __future__ import annotations

import os
import stat
from itertools import count
from pathlib import Path


def empty(folder: Path) -> None:
    """Remove all that is in `folder`, whatever the names, modes, depth and links in it.

    Works without recursion and without long paths: a subfolder's own folders are first moved up.
    """
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fresh = count()
        while entries := list(os.scandir(root)):
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _dissolve(root, entry.name, fresh)
                else:
                    os.unlink(entry.name, dir_fd=root)
    finally:
        os.close(root)


def read_plain(path: Path) -> bytes:
    """Return the content of a plain file; OSError for a link, a pipe, or no file.

    A hostile process may have made it: its size is what the limit on files allowed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no plain file")
        return file.read()


def _dissolve(root: int, name: str, fresh: count[int]) -> None:
    """Remove a folder and its files; move the folders in it up to `root`."""
    os.chmod(name, 0o700, dir_fd=root)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    try:
        for entry in list(os.scandir(inner)):
            if entry.is_dir(follow_symlinks=False):
                # Moving a folder writes its `..`, which takes the right to write in it.
                os.chmod(entry.name, 0o700, dir_fd=inner)
                os.rename(entry.name, _unused(root, fresh), src_dir_fd=inner, dst_dir_fd=root)
            else:
                os.unlink(entry.name, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=root)


def _unused(root: int, fresh: count[int]) -> str:
    while True:
        name = f"{next(fresh)}"
        try:
            os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return name
