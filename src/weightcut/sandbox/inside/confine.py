"""Put a freshly forked child behind every protection that this machine gives."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import signal
from pathlib import Path
from typing import NamedTuple

from weightcut.sandbox.inside import kernel, landlock, seccomp

_FIRST_CLOSED = 8
"""Descriptors 0-2 are the standard streams; the others are named in `program`."""
OUT_OF_THE_WAY = 64
"""Descriptors from here on are never places of a child."""
_FILE_BYTES = 1 << 20
_OPEN_FILES = 64
_SYSTEM = ("/usr/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


class Confinement(NamedTuple):
    """What is the same for every child in one role; made once, by the zygote, before it forks."""

    scratch: str
    user: int | None
    rules: int | None
    filter: seccomp.Filter | None


def prepare(
    scratch: Path, user: int | None, library: Path, *, files: bool, calls: bool
) -> Confinement:
    """Make ready the rule set (`files`) and the system call filter (`calls`) for `scratch`."""
    rules = code = None
    if files:
        readable = [library, *map(Path, (*_SYSTEM, *_DEVICES))]
        made = landlock.ruleset(readable, scratch)
        rules = fcntl.fcntl(made, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)
        os.close(made)
    if calls:
        code = seccomp.Filter(seccomp.program(platform.machine()))
    return Confinement(str(scratch), user, rules, code)


def enter(confinement: Confinement, parent: int, cpu_seconds: int, memory: int) -> None:
    """Give up everything that a program must not have; the caller has placed descriptors 0-5.

    `cpu_seconds` and `memory` (bytes of address space) are the kernel's own, hard limits.
    """
    os.chdir(confinement.scratch)
    if confinement.user is not None:
        os.setgroups([])
        os.setresgid(confinement.user, confinement.user, confinement.user)
        os.setresuid(confinement.user, confinement.user, confinement.user)
    # Both are reset by a change of user.
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    kernel.hide()
    if confinement.rules is not None:
        landlock.restrict(confinement.rules)
    os.closerange(_FIRST_CLOSED, os.sysconf("SC_OPEN_MAX"))
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory),
    ):
        _, most = resource.getrlimit(limit)
        least = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (least, least))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if confinement.filter is not None:
        confinement.filter.install()
