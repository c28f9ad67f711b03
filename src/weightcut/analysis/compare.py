"""Two variants, of one run or of two, sample by sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightcut.analysis.frames import Scores, read_scores
from weightcut.analysis.quality import Settings, public_name, retention, summarize
from weightcut.analysis.statistics import mcnemar_two_sided
from weightcut.records import Observation

_NO_CONDITION = ("model.reference", "model.origin", "model.notes", "profile", "task_modes")
"""Conditions that say where something came from, or that touch timings alone."""
_OF_TASKS = ("tasks", "task_data")
_PLACES = ("data", "texts")
"""Settings of tasks that name a place: the digest of what lies there is what counts."""


@dataclass(frozen=True)
class Side:
    """One variant of one run: its name for people, its run's conditions, its observations."""

    label: str
    conditions: Mapping[str, Any]
    tasks: Mapping[str, Sequence[Observation]]


def unlike_conditions(a: Side, b: Side) -> list[str]:
    """Return every condition in which two runs differ, as `key: value against value`.

    A task that only one of them has is no difference, since it is not compared.
    """
    left, right = dict(_flat(a.conditions)), dict(_flat(b.conditions))
    one_sided = a.tasks.keys() ^ b.tasks.keys()
    apart = [f"{group}.{task}" for task in one_sided for group in _OF_TASKS]
    # The same data may lie in another place, and are noted on differently by another machine.
    apart += [f"task_data.{task}.notes" for task in a.tasks]
    for task in a.tasks.keys() & b.tasks.keys():
        name = f"task_data.{task}.digest"
        if left.get(name) is not None and left.get(name) == right.get(name):
            apart += [f"tasks.{task}.{setting}" for setting in _PLACES]
    found = []
    for key in sorted(left.keys() | right.keys()):
        if any(key == skip or key.startswith(f"{skip}.") for skip in (*_NO_CONDITION, *apart)):
            continue
        if left.get(key) != right.get(key):
            found.append(f"{key}: {_short(left.get(key))} against {_short(right.get(key))}")
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:20]}..."


def compare(a: Side, b: Side, confidence: float, seed: int) -> dict[str, Any]:
    """Return both sides' values, their ratios (B over A, paired), flips and samples, per task.

    Only tasks that both have, and samples that both answered, are compared. Plain data, fit for
    JSON: `{"a", "b", "tasks": {task: {"n", "only_a", "only_b", "metrics", "flips", "samples"}}}`.
    """
    settings = Settings(confidence, seed)
    return {
        "a": a.label,
        "b": b.label,
        "tasks": {
            task: _compare_task(read_scores(a.tasks[task]), read_scores(b.tasks[task]), settings)
            for task in a.tasks
            if task in b.tasks
        },
    }


def _compare_task(a: Scores, b: Scores, settings: Settings) -> dict[str, Any]:
    names_a, names_b = _samples(a), _samples(b)
    both = sorted(names_a & names_b, key=_natural)
    a, b = _only(a, both), _only(b, both)
    metrics = {}
    means = [summarize(scores, settings, baseline=False) for scores in (a, b)]
    for metric in _metrics(a, b):
        ratio = retention(a, b, metric, settings)
        values = [_value(mean, metric) for mean in means]
        metrics[public_name(metric)] = {
            "a": values[0],
            "b": values[1],
            "ratio": {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        }
    return {
        "n": len(both),
        "only_a": sorted(names_a - names_b, key=_natural),
        "only_b": sorted(names_b - names_a, key=_natural),
        "metrics": metrics,
        "flips": _flips(a, b, both),
        "samples": [
            {"sample": sample, "a": _row(a, sample), "b": _row(b, sample)} for sample in both
        ],
    }


def _only(scores: Scores, samples: Sequence[str]) -> Scores:
    """Return the scores of these samples alone, so that both sides are means over the same ones."""
    wanted = set(samples)
    kept = {
        metric: {sample: values for sample, values in column.items() if sample in wanted}
        for metric, column in scores.by_sample.items()
    }
    answers = max((sum(map(len, column.values())) for column in kept.values()), default=0)
    return Scores({metric: column for metric, column in kept.items() if column}, answers)


def _samples(scores: Scores) -> set[str]:
    return {sample for column in scores.by_sample.values() for sample in column}


def _natural(sample: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", sample)]


def _metrics(a: Scores, b: Scores) -> list[str]:
    if a.likelihood and b.likelihood:
        return ["perplexity", "bits_per_byte"]
    shared = [metric for metric in a.metrics if metric in b.by_sample]
    return [metric for metric in shared if a.is_share(metric) and b.is_share(metric)]


def _value(summary: Mapping[str, Any], metric: str) -> float | None:
    found = summary.get("value" if metric == "perplexity" else public_name(metric))
    value = found["value"] if isinstance(found, Mapping) else found
    return None if value is None else float(value)


def _row(scores: Scores, sample: str) -> dict[str, float]:
    return {
        metric: sum(column[sample]) / len(column[sample])
        for metric, column in scores.by_sample.items()
        if sample in column
    }


def _flips(a: Scores, b: Scores, both: Sequence[str]) -> dict[str, Any] | None:
    before, after = a.column("passed"), b.column("passed")
    known = [sample for sample in both if sample in before and sample in after]
    if not known:
        return None
    lost = [sample for sample in known if after[sample] < before[sample]]
    gained = [sample for sample in known if after[sample] > before[sample]]
    p_value = mcnemar_two_sided(len(lost), len(gained))
    single = a.single("passed") and b.single("passed")
    return {"lost": lost, "gained": gained, "p_value": p_value if single else None}
