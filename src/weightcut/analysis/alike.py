"""Whether the cells of a run were measured alike: the same libraries, threads and questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from weightcut.records import Cell

_NAMED = 4  # cells that a sentence names


def unlike_cells(cells: Iterable[Cell]) -> list[str]:
    """Return in words in what the measured cells of a run differ that should be the same."""
    used: dict[str, dict[str, list[str]]] = {}
    asked: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        if cell.key.stage == "build":
            continue
        for name, values in _measured_with(cell.manifest).items():
            for value in values:
                used.setdefault(name, {}).setdefault(value, []).append(str(cell.key))
        question = cell.manifest.get("prompts_digest") or cell.manifest.get("text_digest")
        if question:
            what = cell.key.task or cell.key.stage
            asked.setdefault(what, {}).setdefault(question, []).append(str(cell.key))
    return [
        f"not all was measured with the same {name}: "
        + "; ".join(f"{value} for {_few(keys)}" for value, keys in values.items())
        for name, values in used.items()
        if len(values) > 1
    ] + [
        f"{what}: not all variants were asked the same, so their figures cannot be compared: "
        + " unlike ".join(map(_few, groups.values()))
        for what, groups in asked.items()
        if len(groups) > 1
    ]


def timed_unlike(mine: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """Return in words what a variant was timed with otherwise than the baseline.

    mine, base: the manifests of the two profile cells.
    """
    ours, theirs = _measured_with(mine), _measured_with(base)
    return [
        f"it was timed with {name} {' and '.join(ours[name])}, the baseline with "
        f"{' and '.join(theirs[name])}"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]


def _measured_with(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the values of each name that a cell was measured with, several where it went on.

    Older runs have the versions of all packages instead, those that it did not use too.
    """
    found: dict[str, list[str]] = {}
    for name, value in _pairs(manifest):
        values = found.setdefault(name, [])
        if (said := value or "none") not in values:
            values.append(said)
    return found


def _pairs(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for facts in manifest.get("measured_with") or [manifest.get("versions") or {}]:
        yield from facts.items()


def _few(keys: list[str]) -> str:
    rest = len(keys) - _NAMED
    return ", ".join(keys[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
