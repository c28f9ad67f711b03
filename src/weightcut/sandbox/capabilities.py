"""Which protections this machine gives to untrusted code, and why it lacks the others."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

from pydantic import Field

from weightcut import settings
from weightcut.errors import NotHere
from weightcut.records import Record

FIRST_USER = 1_900_000_000
"""User ids from here on belong to nobody: no file, no process, no quota but the sandbox's."""
_SET_IDS = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID
_NEW_USER = 0x10000000  # CLONE_NEWUSER


class Protection(Record):
    """One protection: what it stops, whether it is there, and if not, why."""

    name: str
    stops: str
    present: bool
    needed: bool = Field(description="whether running without it must be allowed expressly")
    reason: str = Field("", description="why it is absent")


class Protections(Record):
    """Which of the protections a sandbox uses."""

    landlock: bool
    seccomp: bool
    user: bool


@cache
def capabilities() -> tuple[Protection, ...]:
    """Return every protection, present or not."""
    return (_landlock(), _seccomp(), _user(), _user_namespaces())


def protections() -> Protections:
    """Return what a sandbox is to use here.

    NotHere if a needed protection is absent, unless `WEIGHTCUT_SANDBOX_ALLOW_WEAK=1` says to go on.
    """
    if _not_linux():
        raise NotHere("untrusted code is run on Linux alone", cure="use a container or a machine")
    absent = [part for part in capabilities() if part.needed and not part.present]
    if absent and not settings.weak_sandbox_allowed():
        missing = "; ".join(
            f"{part.name} ({part.reason}), which stops {part.stops}" for part in absent
        )
        raise NotHere(
            f"untrusted code cannot be confined on this machine: it lacks {missing}",
            cure="run it on Linux 6.2 or newer, or in a virtual machine that may be lost and set "
            "WEIGHTCUT_SANDBOX_ALLOW_WEAK=1",
        )
    present = {part.name: part.present for part in capabilities()}
    return Protections(
        landlock=present["landlock"], seccomp=present["seccomp"], user=present["own user"]
    )


def _landlock() -> Protection:
    from weightcut.sandbox.inside import landlock

    version = 0 if _not_linux() else landlock.abi()
    reason = ""
    if version == 0:
        reason = _not_linux() or "the kernel has no Landlock, or it is off (see the `lsm=` option)"
    elif version < landlock.NEEDED_ABI:
        reason = f"version {version} of Landlock does not guard truncation; Linux 6.2 does"
    stops = "reading and writing outside the scratch folder and the standard library"
    return Protection(name="landlock", stops=stops, present=not reason, needed=True, reason=reason)


def _seccomp() -> Protection:
    from weightcut.sandbox.inside import seccomp

    reason = _not_linux()
    if not reason and platform.machine() not in seccomp.MACHINES:
        reason = f"the system calls of {platform.machine()} are not known here"
    elif not reason and not seccomp.available():
        reason = "the kernel takes no seccomp filters"
    stops = "the network, new processes, signals to others, changes of mode and owner"
    return Protection(name="seccomp", stops=stops, present=not reason, needed=True, reason=reason)


def _user() -> Protection:
    root = os.geteuid() == 0
    reason = "" if root else "only root can change its user"
    if root and not _can_change_user():
        reason = "root may not take another user id here (a container without CAP_SETUID or ids)"
    stops = "whatever the rights of root would allow"
    return Protection(name="own user", stops=stops, present=not reason, needed=root, reason=reason)


def _user_namespaces() -> Protection:
    reason = _not_linux()
    if not reason:
        code = f"import ctypes; raise SystemExit(ctypes.CDLL(None).unshare({_NEW_USER}))"
        tried = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False)  # noqa: S603
        if tried.returncode:
            reason = "the kernel or its settings allow this user no user namespaces"
    return Protection(
        name="user namespaces",
        stops="seeing that other files and processes exist (bubblewrap)",
        present=not reason,
        needed=False,
        reason=reason,
    )


def _can_change_user() -> bool:
    """Return whether the capabilities and the id map allow the sandbox's user ids."""
    status = Path("/proc/self/status").read_text()
    [effective] = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    maps = [Path(f"/proc/self/{kind}_map").read_text().splitlines() for kind in ("uid", "gid")]
    known = all(
        any(
            int(first) <= FIRST_USER < int(first) + int(length)
            for first, _, length in (line.split() for line in lines)
        )
        for lines in maps
    )
    return known and int(effective, 16) & _SET_IDS == _SET_IDS


def _not_linux() -> str:
    return "" if sys.platform == "linux" else "this is not Linux"
