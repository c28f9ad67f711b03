"""Which protections this machine gives to untrusted code, and why it lacks the others."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from weightcut import settings
from weightcut.errors import NotHere, UsageError, nearest
from weightcut.records import Record
from weightcut.sandbox import bubblewrap

Kind = Literal["fork-server", "bubblewrap"]
KINDS: tuple[Kind, ...] = ("fork-server", "bubblewrap")

FIRST_USER = 1_900_000_000
"""User ids from here on belong to nobody: no file, no process, no quota but the sandbox's."""
_SET_IDS = 1 << 6 | 1 << 7  # CAP_SETGID, CAP_SETUID


class Protection(Record):
    """One protection: what it stops, whether it is there, and if not, why."""

    name: str
    stops: str
    present: bool
    needed_by: tuple[Kind, ...] = Field(description="the sandboxes that refuse to do without it")
    reason: str = Field("", description="why it is absent")


class Protections(Record):
    """Which of the protections a sandbox uses."""

    landlock: bool
    seccomp: bool
    user: bool
    bubblewrap: bool = False


@cache
def capabilities() -> tuple[Protection, ...]:
    """Return every protection, present or not."""
    return (_landlock(), _seccomp(), _user(), _bubblewrap())


def protections(kind: Kind | None = None) -> Protections:
    """Return what a sandbox of one kind is to use here; None: the kind that the settings name.

    NotHere if a needed protection is absent, unless `WEIGHTCUT_SANDBOX_ALLOW_WEAK=1` says to go on.
    """
    if _not_linux():
        raise NotHere("untrusted code is run on Linux alone", cure="use a container or a machine")
    kind = kind or kind_named(settings.sandbox(), "WEIGHTCUT_SANDBOX")
    present = {part.name: part.present for part in capabilities()}
    absent = [part for part in capabilities() if kind in part.needed_by and not part.present]
    wrapped = kind == "bubblewrap"
    if wrapped and not present["bubblewrap"]:
        # Without it there would be another sandbox, not a weaker one.
        raise NotHere(
            f"the sandbox {kind!r} cannot be used: {capabilities()[-1].reason}",
            cure="install bubblewrap, or use the sandbox 'fork-server'",
        )
    if absent and not settings.weak_sandbox_allowed():
        missing = "; ".join(
            f"{part.name} ({part.reason}), which stops {part.stops}" for part in absent
        )
        raise NotHere(
            f"untrusted code cannot be confined on this machine: it lacks {missing}",
            cure=_cure(absent),
        )
    return Protections(
        landlock=present["landlock"],
        seccomp=present["seccomp"],
        user=present["own user"],
        bubblewrap=wrapped,
    )


def _cure(absent: list[Protection]) -> str:
    machine = "run it on Linux 6.2 or newer, or in a virtual machine that may be lost and set "
    machine += "WEIGHTCUT_SANDBOX_ALLOW_WEAK=1"
    if all("bubblewrap" not in part.needed_by for part in absent) and _bubblewrap().present:
        return f"set WEIGHTCUT_SANDBOX=bubblewrap, which does without it; or {machine}"
    return machine


def kind_named(name: str, place: str) -> Kind:
    """Return the kind of sandbox that `place` names, or UsageError with the nearest."""
    for kind in KINDS:
        if kind == name:
            return kind
    raise UsageError(f"unknown sandbox {name!r}; {nearest(name, KINDS)}", place=place)


def _landlock() -> Protection:
    from weightcut.sandbox.inside import landlock

    version = 0 if _not_linux() else landlock.abi()
    reason = ""
    if version == 0:
        reason = _not_linux() or "the kernel has no Landlock, or it is off (see the `lsm=` option)"
    elif version < landlock.NEEDED_ABI:
        reason = f"version {version} of Landlock does not guard truncation; Linux 6.2 does"
    stops = "reading and writing outside the scratch folder and the standard library"
    return Protection(
        name="landlock", stops=stops, present=not reason, needed_by=("fork-server",), reason=reason
    )


def _seccomp() -> Protection:
    from weightcut.sandbox.inside import seccomp

    reason = _not_linux()
    if not reason and platform.machine() not in seccomp.MACHINES:
        reason = f"the system calls of {platform.machine()} are not known here"
    elif not reason and not seccomp.available():
        reason = "the kernel takes no seccomp filters"
    stops = "the network, new processes, signals to others, changes of mode and owner"
    return Protection(
        name="seccomp", stops=stops, present=not reason, needed_by=KINDS, reason=reason
    )


def _user() -> Protection:
    root = os.geteuid() == 0
    reason = "" if root else "not needed: an ordinary user has no rights to give up"
    if root and not _can_change_user():
        reason = "root may not take another user id here (a container without CAP_SETUID or ids)"
    stops = "whatever the rights of root would allow"
    return Protection(
        name="own user",
        stops=stops,
        present=not reason,
        needed_by=KINDS if root else (),
        reason=reason,
    )


def _bubblewrap() -> Protection:
    reason = _not_linux() or bubblewrap.absent()
    return Protection(
        name="bubblewrap",
        stops="seeing that other files, processes and networks exist",
        present=not reason,
        needed_by=("bubblewrap",),
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
