"""Put a freshly forked child behind every protection that this machine gives."""

from __future__ import annotations

import fcntl
import math
import os
import platform
import resource
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from weightcut.sandbox.inside import kernel, landlock, seccomp

OUT_OF_THE_WAY = 64
"""Descriptors from here on are never places of a child."""
_FILE_BYTES = 1 << 20
_OPEN_FILES = 64
SYSTEM = ("/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
"""What every program may read, beside the interpreter's own library."""


class Confinement(NamedTuple):
    """What is the same for every child in one role; made once, by the zygote, before it forks."""

    scratch: str
    user: int | None
    rules: int | Callable[[], int] | None  # made by the process itself where it names itself
    filter: seccomp.Filter | None
    open_files: int


def prepare(
    scratch: Path,
    user: int | None,
    library: Path,
    *,
    files: bool,
    calls: bool,
    extra: Iterable[str] = (),
    readable: Iterable[str] = (),
    executable: Iterable[str] = (),
    map_below: int | None = None,
    own: Iterable[str] = (),
    pretended: Iterable[str] = (),
) -> Confinement:
    """Make ready the rule set (`files`) and the system call filter (`calls`) for `scratch`.

    `extra` system calls are let through beside the usual ones, and `readable` and `executable`
    paths; files are mapped into memory from descriptors below `map_below` alone, if that is given.
    `own` are the files of its own folder in /proc that the process may read. `pretended` system
    calls do nothing.
    """
    rules: int | Callable[[], int] | None = None
    code = None
    if files:
        paths = [library, *map(Path, (*SYSTEM, *DEVICES, *readable))]

        def make() -> int:
            mine = [Path("/proc", str(os.getpid()), name) for name in own]
            return landlock.ruleset([*paths, *mine], scratch, [*map(Path, executable)])

        rules = make
        if not own:
            made = make()
            rules = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
            os.close(made)
    if calls:
        code = seccomp.Filter(seccomp.program(platform.machine(), extra, map_below, pretended))
    open_files = _OPEN_FILES + (map_below or 0)
    return Confinement(str(scratch), user, rules, code, open_files)


def enter(confinement: Confinement, parent: int | None, first_closed: int) -> None:
    """Give up everything that a program must not have.

    The caller has put the descriptors below `first_closed` in their places; the rest is closed.
    The process dies with its `parent`, if that is given.
    """
    rules = confinement.rules
    if rules is not None and not isinstance(rules, int):
        rules = rules()
    os.chdir(confinement.scratch)
    if confinement.user is not None:
        os.setgroups([])
        os.setresgid(confinement.user, confinement.user, confinement.user)
        os.setresuid(confinement.user, confinement.user, confinement.user)
    # Both are reset by a change of user.
    if parent is not None:
        kernel.die_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    kernel.hide()
    if rules is not None:
        landlock.restrict(rules)
    os.closerange(first_closed, os.sysconf("SC_OPEN_MAX"))
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _set(resource.RLIMIT_NOFILE, confinement.open_files)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if confinement.filter is not None:
        confinement.filter.install()


def limit(cpu: float, memory: int) -> None:
    """Set the kernel's own, hard limits: CPU seconds (a backstop), bytes of address space."""
    _set(resource.RLIMIT_CPU, math.ceil(cpu) + 1)
    _set(resource.RLIMIT_AS, memory)


def limit_runtime(cpu: float, memory: int) -> None:
    """Set the limits of a language runtime, which reserves more addresses than it ever uses.

    `memory` bounds what the process can write to: its heaps, stacks and generated code.
    """
    _set(resource.RLIMIT_CPU, math.ceil(cpu) + 1)
    _set(resource.RLIMIT_DATA, memory)


def limit_once(cpu: float, memory: int) -> None:
    """Set soft limits for one run of many, `cpu` from now on."""
    _set(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu) + 1, hard=False)
    _set(resource.RLIMIT_AS, memory, hard=False)


def _set(kind: int, value: int, *, hard: bool = True) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    resource.setrlimit(kind, (value, value if hard else most))
