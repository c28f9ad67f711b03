"""Landlock: the kernel's own allow-list of files, ports and processes for an ordinary process.

Source: Linux `Documentation/userspace-api/landlock.rst`, `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from weightcut.sandbox.inside import kernel

# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _READ_FILE | _READ_DIR
# No sockets, pipes, devices or links: a program needs none of them in its scratch folder.
_SCRATCH = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
NEEDED_ABI = 3
"""The first version that also guards truncation: before it, any writable file can be emptied."""


def abi() -> int:
    """Return the version of Landlock that this kernel offers, 0 for none."""
    try:
        return kernel.call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def ruleset(readable: Iterable[Path], writable: Path, executable: Iterable[Path] = ()) -> int:
    """Return the descriptor of a rule set: read `readable`, read and write `writable`, no more.

    What is `executable` can be read and started.

    Also forbids TCP (version 4 on) and signals and abstract Unix sockets to processes outside
    (version 6 on). Paths that do not exist are left out.
    """
    version = abi()
    handled = (
        1 << (16 if version >= 5 else 15 if version >= 3 else 14 if version == 2 else 13)
    ) - 1
    tcp, outside = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = struct.pack("QQQ", handled, tcp, outside)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = kernel.call(
        _CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    for path in readable:
        _allow(rules, path, _READ & handled)
    for path in executable:
        _allow(rules, path, (_READ | _EXECUTE) & handled)
    _allow(rules, writable, _SCRATCH & handled)
    return rules


def restrict(rules: int) -> None:
    """Bind this process, which has no new privileges already, to the rule set for good."""
    kernel.call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))


def _allow(rules: int, path: Path, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            access &= _ON_FILES
        rule = ctypes.create_string_buffer(struct.pack("=Qi", access, descriptor))
        kernel.call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
