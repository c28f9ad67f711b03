"""Samples that two variants answer differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightcut.errors import UsageError


@dataclass(frozen=True)
class Flips:
    """The samples, by id and in order, that went from right to wrong and from wrong to right."""

    lost: tuple[str, ...]
    gained: tuple[str, ...]
    unchanged: int


def flips(before: Mapping[str, bool], after: Mapping[str, bool]) -> Flips:
    """Compare pass and fail by sample id; both must have the same samples, else UsageError."""
    unlike = sorted(before.keys() ^ after.keys())
    if unlike:
        raise UsageError(
            f"{len(unlike)} samples are in only one of the two results, the first is {unlike[0]!r}",
            cure="compare results of the same task with the same limit",
        )
    lost = tuple(name for name, right in before.items() if right and not after[name])
    gained = tuple(name for name, right in before.items() if not right and after[name])
    return Flips(lost, gained, len(before) - len(lost) - len(gained))
