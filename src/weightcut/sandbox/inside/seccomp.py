"""seccomp: a filter in the kernel that lets through the listed system calls and no others.

Source: Linux `Documentation/userspace-api/seccomp_filter.rst`; classic BPF as in
`include/uapi/linux/filter.h` and `seccomp.h`.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from weightcut.sandbox.inside import kernel
from weightcut.sandbox.inside.syscalls import AARCH64, ALLOWED, X86_64


class Machine(NamedTuple):
    """An architecture: its audit number (`linux/audit.h`) and its system calls."""

    audit: int
    numbers: Mapping[str, int]


MACHINES = {"x86_64": Machine(0xC000003E, X86_64), "aarch64": Machine(0xC00000B7, AARCH64)}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_NO_FILE = 0xFFFFFFFF  # descriptor -1
# Duplicate, flags, locks, pipe size: nothing that makes the kernel signal another process
# (F_SETOWN with F_SETSIG would be a kill() by the back door).
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what isatty() and files ask for.
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_PR_GET_SECCOMP, _PR_SET_SECCOMP, _FILTER_MODE = 21, 22, 2

Instruction = tuple[int, int, int, int]


def available() -> bool:
    """Return whether this kernel takes filters and the architecture's numbers are known."""
    if platform.machine() not in MACHINES:
        return False
    try:
        kernel.prctl(_PR_SET_SECCOMP, _FILTER_MODE, None)
    except OSError as error:
        return error.errno == errno.EFAULT  # it would have read the filter
    return False


def program(
    machine: str,
    extra: Iterable[str] = (),
    map_below: int | None = None,
    pretended: Iterable[str] = (),
) -> bytes:
    """Return the filter for an architecture as BPF bytes; `extra` calls are let through too.

    `pretended` calls do nothing and succeed.
    With `map_below`, files can be mapped into memory from descriptors below that number alone: once
    those are taken, no native code can be loaded any more.
    """
    audit, numbers = MACHINES[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    code += _when(numbers["clone"], 0, [(_ANY_BIT, 0, 1, _CLONE_THREAD)])
    code += _when(numbers["prlimit64"], 0, [(_EQUAL, 0, 1, 0)])
    code += _when(numbers["fcntl"], 1, [(_EQUAL, 0, 1, command) for command in _FCNTL])
    code += _when(numbers["ioctl"], 1, [(_EQUAL, 0, 1, command) for command in _IOCTL])
    if map_below is not None:
        code += _when(numbers["mmap"], 4, [(_EQUAL, 0, 1, _NO_FILE), (_AT_LEAST, 1, 0, map_below)])
    for name in pretended:
        code += [(_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, _ERRNO)]
    # glibc takes this answer for an old kernel and falls back to clone, whose flags can be read.
    code += [(_EQUAL, 0, 1, numbers["clone3"]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    code += _search(_ranges(numbers[name] for name in (*ALLOWED, *extra) if name in numbers))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


class Filter:
    """A filter ready to be put on; made before the fork, since every page it takes is copied."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(self._code))
        self._header = ctypes.create_string_buffer(header, len(header))

    def install(self) -> None:
        """Put the filter on this process for good; it has no new privileges already."""
        kernel.prctl(_PR_SET_SECCOMP, _FILTER_MODE, self._header)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return the closed ranges that make up a set of numbers."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _search(ranges: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Allow a number in `ranges`, refuse the rest: a binary search, since the kernel runs the
    filter once for every system call there is when a child installs it.
    """
    if len(ranges) == 1:
        [(low, high)] = ranges
        return [
            (_AT_LEAST, 0, 2, low),
            (_AT_LEAST, 1, 0, high + 1),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        ]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    return [(_AT_LEAST, len(below), 0, ranges[middle][0]), *below, *above]


def _when(number: int, argument: int, tests: Sequence[Instruction]) -> list[Instruction]:
    """Allow system call `number` if one test of its argument holds (low 32 bits), else refuse."""
    block: list[Instruction] = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)]
    for test in tests:
        block += [test, (_RETURN, 0, 0, _ALLOW)]
    block.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return [(_EQUAL, 0, len(block), number), *block]
