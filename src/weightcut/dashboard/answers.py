"""The answers of a run's generation tasks, page by page, however many there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from weightcut import registry
from weightcut.dashboard import runs
from weightcut.dashboard.runs import Revision
from weightcut.errors import WeightcutError
from weightcut.records import CellKey, Named, Observation, Sample, StudySpec
from weightcut.reports import text

Filter = Literal["all", "flips", "lost", "gained", "passed", "failed", "degenerate"]
FILTERS: Mapping[Filter, str] = {
    "all": "all",
    "flips": "flips: pass on one side, fail on the other",
    "lost": "lost: the baseline passes, a variant fails",
    "gained": "gained: a variant passes, the baseline fails",
    "passed": "passed by all chosen",
    "failed": "failed by all chosen",
    "degenerate": "degenerate answer of one of them",
}
Id = tuple[str, int]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Index:
    """The scores of all answers to one task: variant -> (sample, repeat) -> values."""

    scores: Mapping[str, Mapping[Id, Scores]]
    ids: Sequence[Id]

    def of(self, variant: str, one: Id) -> Scores:
        """Return the values of one answer, none where it was not given."""
        return self.scores.get(variant, {}).get(one, {})


def spec(folder: Path) -> StudySpec:
    """Return the study of a run."""
    return _spec(folder, runs.revision(folder))


@lru_cache(maxsize=32)
def _spec(folder: Path, _files: Revision) -> StudySpec:
    return runs.reading(folder, lambda store: store.spec())


def tasks(folder: Path) -> list[str]:
    """Return the tasks with answers that can be shown, in the order of the study."""
    known = runs.counts(folder)
    named = [task.kind for task in spec(folder).tasks]
    found = []
    for task in named:
        keys = [key for key in known if key.stage == "task" and key.task == task]
        if keys and any("tokens" in (_first(folder, key) or {}) for key in keys[:1]):
            found.append(task)
    return found


def _first(folder: Path, key: CellKey) -> Scores | None:
    scores = index(folder, key.task).scores.get(key.variant, {})
    first = next(iter(scores.values()), None)
    return None if first is None or "nll" in first else {"tokens": 0.0, **first}


def index(folder: Path, task: str) -> Index:
    """Return the scores of a task's answers."""
    return _index(folder, task, runs.revision(folder))


@lru_cache(maxsize=12)
def _index(folder: Path, task: str, _files: Revision) -> Index:
    def read(store: Any) -> dict[str, dict[Id, Scores]]:
        keys = [c.key for c in store.cells() if c.key.stage == "task" and c.key.task == task]
        return {
            key.variant: {
                (sample, repeat): values if isinstance(values, dict) else {}
                for sample, repeat, values in store.scores(key)
            }
            for key in keys
        }

    scores = runs.reading(folder, read)
    every = dict.fromkeys(one for answers in scores.values() for one in answers)
    return Index(scores, sorted(every))


def matching(
    found: Index, baseline: str, variants: Sequence[str], which: Filter, search: str = ""
) -> list[Id]:
    """Return the answers that a filter lets through, in order.

    search: a part of the sample's name, letter case aside.
    """
    wanted = search.strip().casefold()
    others = [name for name in variants if name != baseline]
    return [
        one
        for one in found.ids
        if (not wanted or wanted in one[0].casefold())
        and _lets(which, found, baseline, variants, others, one)
    ]


def _lets(
    which: Filter,
    found: Index,
    baseline: str,
    variants: Sequence[str],
    others: Sequence[str],
    one: Id,
) -> bool:
    if which == "all":
        return True
    if which in ("passed", "failed"):
        passed = [found.of(name, one).get("passed") for name in variants]
        known = [value for value in passed if value is not None]
        return bool(known) and all((value > 0) == (which == "passed") for value in known)
    if which == "degenerate":
        return any((found.of(name, one).get("degenerate") or 0) > 0 for name in variants)
    base = found.of(baseline, one).get("passed")
    changes = [
        value - base
        for name in others
        for value in [found.of(name, one).get("passed")]
        if value is not None and base is not None
    ]
    lost, gained = any(c < 0 for c in changes), any(c > 0 for c in changes)
    return lost if which == "lost" else gained if which == "gained" else lost or gained


def answers(
    folder: Path, task: str, variants: Iterable[str], one: Id
) -> dict[str, Observation | None]:
    """Return each variant's answer to one sample, None where there is none."""

    def read(store: Any) -> dict[str, Observation | None]:
        return {
            name: store.observation(CellKey(variant=name, stage="task", task=task), *one)
            for name in variants
        }

    return runs.reading(folder, read)


@lru_cache(maxsize=8)
def _samples(kind: str, settings: str) -> dict[str, Sample]:
    import json

    task = registry.load("task", kind).model_validate({"kind": kind, **json.loads(settings)})
    return {item.id: item for item in task.items()}


def prompt(named: Named, sample: str) -> tuple[str, str]:
    """Return a sample's prompt and its reference answer, as its task words them.

    A task of the user's own is not asked: that would run the file which the run folder names.
    """
    import json

    if named.source:
        return "", ""
    try:
        found = _samples(named.kind, json.dumps(named.settings, sort_keys=True)).get(sample)
    except (WeightcutError, OSError, ValueError, KeyError):
        return "", ""  # the task's data is not on this machine; the answers are
    if found is None:
        return "", ""
    said = "\n\n".join(message["content"] for message in found.messages) or found.plain_prompt
    return said, found.reference


def shown(observation: Observation | None, field: str = "text") -> str:
    """Return a text of an answer's detail; anything else than a text counts as none."""
    value = observation.detail.get(field) if observation else None
    return value if isinstance(value, str) else ""


Piece = tuple[str, bool]
_MOST = 400_000  # pairs of lines, or of words in a line, that are matched; it takes their square


def differences(old: str, new: str) -> list[list[Piece]]:
    """Return the lines of `new` as pieces, each with whether it differs from `old`.

    Lines are matched first, then the words of lines that were replaced; those of very long texts
    by their place alone.
    """
    before, after = old.splitlines(), new.splitlines()
    if len(before) * len(after) > _MOST:
        known = [*before, *[None] * len(after)]
        return [[(line, line != was)] for line, was in zip(after, known, strict=False)]
    lines: list[list[Piece]] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        for offset, line in enumerate(after[j1:j2]):
            if kind == "equal":
                lines.append([(line, False)])
            elif kind == "replace" and offset < i2 - i1:
                lines.append(_words(before[i1 + offset], line))
            else:
                lines.append([(line, True)])
    return lines


def _words(old: str, new: str) -> list[Piece]:
    before, after = _split(old), _split(new)
    if len(before) * len(after) > _MOST:
        return [(new, True)]
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for kind, _, _, j1, j2 in matcher.get_opcodes():
        if j2 > j1:
            pieces.append(("".join(after[j1:j2]), kind != "equal"))
    return pieces or [(new, bool(new))]


def _split(line: str) -> list[str]:
    import re

    return re.findall(r"\w+|\s+|[^\w\s]", line)


def mark(values: Scores) -> str:
    """Return what came of an answer, as a sign with a word."""
    passed = values.get("passed")
    if passed is None:
        return "answered" if values else text.MISSING
    return "✓ pass" if passed > 0 else "× fail"
