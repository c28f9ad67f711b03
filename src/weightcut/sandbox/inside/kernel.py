"""System calls that Python does not expose, through the C library."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def call(number: int, *arguments: Any) -> int:
    """Make system call `number`; OSError where the kernel refuses."""
    return checked(_libc.syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, *arguments: Any) -> int:
    """Call prctl(2); integers are passed as unsigned longs, as the kernel reads them."""
    return checked(_libc.prctl(option, *map(_wide, (*arguments, 0, 0, 0, 0)[:4])))


def _wide(argument: Any) -> Any:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument


def checked(result: int) -> int:
    """Return the result of a C function, or raise OSError from errno when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when its parent ends."""
    prctl(_PR_SET_PDEATHSIG, signal)


def hide() -> None:
    """Make this process undumpable: others of the same user cannot read or trace it."""
    prctl(_PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    """Give up setuid programs for good; Landlock and seccomp ask for it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
