"""Errors that a user can mend; the command line prints them without a traceback."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class WeightcutError(Exception):
    """Something a user can mend: the cause, the place (file, line, key) and the cure if known."""

    def __init__(self, cause: str, *, place: str = "", cure: str = "") -> None:
        self.cause, self.place, self.cure = cause, place, cure
        super().__init__(f"{place}: {cause}" if place else cause)


class UsageError(WeightcutError):
    """The request itself is wrong: an unknown name, a recipe that does not fit, a bad study."""


class BrokenInput(WeightcutError):
    """A file that was read is incomplete, corrupt or not what it claims to be."""


class NotHere(WeightcutError):
    """This machine cannot do it: no network, no memory, no disk, no such package or device."""


_FULL = ("No space left on device", "disk is full", "Disk quota exceeded")


def full_disk(error: BaseException) -> NotHere | None:
    """Return what to tell where an error says, or came of one that says, that a disk is full."""
    for one in _causes(error):
        number = one.errno if isinstance(one, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or any(words in str(one) for words in _FULL):
            return NotHere(
                "the disk is full",
                place=str(getattr(one, "filename", None) or ""),
                cure="free some and run the same again, or set WEIGHTCUT_HOME to a larger disk",
            )
    return None


_DENIED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def sealed_home(error: BaseException, home: Path) -> NotHere | None:
    """Return what to tell where an error is, or came of, a cache folder that cannot be written."""
    for one in _causes(error):
        if not isinstance(one, OSError) or one.errno not in _DENIED:
            continue
        named = one.filename2 or one.filename
        if isinstance(named, str | os.PathLike) and _within(Path(named), home):
            return NotHere(
                f"the cache folder cannot be written ({one.strerror})",
                place=str(named),
                cure="set WEIGHTCUT_HOME to a folder that you may write to, or pull the model and "
                "build the artifacts there as a user who may",
            )
    return None


def _within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(20):  # a chain of causes may be a ring
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def missing_extra(package: str, extra: str) -> NotHere:
    """Return the error for a package that is not there, naming the command that brings it."""
    return NotHere(
        f"the package {package!r} is not installed", cure=f'pip install "weightcut[{extra}]"'
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a phrase with the nearest known name and all the alternatives, for error messages."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"
