"""Which extras of weightcut are installed, and the command that brings each of the others."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

from weightcut.hardware.fits import pip_install
from weightcut.records import Record

_NAME = re.compile(r"^\s*([\w.-]+)\s*(?:\[([\w, -]+)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")
_INTERNAL = {"dev"}  # for people who work on weightcut itself


class Extra(Record):
    """An extra: the packages of it that are not installed, and the command that brings them."""

    name: str
    installed: bool
    missing: tuple[str, ...]
    install: str


def extras(package: str = "weightcut") -> tuple[Extra, ...]:
    """Return the extras of an installed package, sorted; none where its metadata is not there."""
    needs: dict[str, list[str]] = {}
    try:
        lines = requires(package) or ()
    except PackageNotFoundError:
        return ()
    for line in lines:
        name, extra = _NAME.match(line), _EXTRA.search(line.partition(";")[2])
        if name and extra and extra[1] not in _INTERNAL:
            inner = [f"[{one.strip()}]" for one in (name[2] or "").split(",") if one.strip()]
            needs.setdefault(extra[1], []).extend(inner if name[1] == package else [name[1]])
    found = []
    for name_ in sorted(needs):
        missing = tuple(one for one in sorted(_flat(name_, needs, set())) if not _there(one))
        found.append(
            Extra(name=name_, installed=not missing, missing=missing, install=pip_install(name_))
        )
    return tuple(found)


def _flat(extra: str, needs: dict[str, list[str]], seen: set[str]) -> set[str]:
    """Return the packages of an extra, those of the extras that it includes among them."""
    if extra in seen:
        return set()
    seen.add(extra)
    found: set[str] = set()
    for one in needs.get(extra, ()):
        found |= _flat(one[1:-1], needs, seen) if one.startswith("[") else {one}
    return found


def _there(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
