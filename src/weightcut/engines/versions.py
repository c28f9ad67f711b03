"""Artifacts that another version of a library made: told where one cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from weightcut.errors import BrokenInput
from weightcut.records import Artifact

# Packages whose distributions are named otherwise.
_DISTRIBUTIONS = {"llama_cpp": "llama-cpp-python", "modelopt": "nvidia-modelopt"}


@contextmanager
def told_of(artifact: Artifact) -> Iterator[None]:
    """Add to a BrokenInput of the body which libraries have changed since the artifact was made."""
    try:
        yield
    except BrokenInput as error:
        changed = list(differences(artifact))
        if not changed:
            raise
        raise BrokenInput(
            error.cause,
            place=error.place,
            cure=f"it was made with {' and '.join(changed)}: make it again or install that",
        ) from error


def differences(artifact: Artifact) -> Iterator[str]:
    """Yield `torchao 0.17.0 (0.18.0 is installed)` for each library of another version."""
    seen = set()
    for record in artifact.details.values():
        versions = record.get("versions", {}) if isinstance(record, dict) else {}
        for name, made in versions.items():
            here = installed(name)
            if made and made != here and name not in seen:
                seen.add(name)
                yield f"{name} {made} ({f'{here} is' if here else 'none is'} installed)"


def installed(name: str) -> str | None:
    """Return the version of a package, by the name that imports it; None where it is not there."""
    try:
        return version(_DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        return None
