"""Raw observations as arrays: one value per sample and metric, broken values counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from weightcut.analysis.statistics import Floats
from weightcut.records import CellKey, Observation

LARGEST = 1e15
"""No real reading is larger; beyond it sums and squares lose their meaning."""


@dataclass(frozen=True)
class Scores:
    """The scores of one variant on one task.

    by_sample: metric -> sample -> the answers' values, in order of sample. answers: their number.
    broken: metric -> how many values were not usable numbers; these are left out.
    """

    by_sample: Mapping[str, Mapping[str, tuple[float, ...]]]
    answers: int = 0
    broken: Mapping[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """The number of samples with at least one usable value."""
        return len({sample for column in self.by_sample.values() for sample in column})

    @property
    def likelihood(self) -> bool:
        """Whether these are windows of predicted text rather than scored answers."""
        return "nll" in self.by_sample

    @property
    def metrics(self) -> list[str]:
        """The metrics that stand for themselves; a name with a dot is a part of another figure."""
        return [metric for metric in self.by_sample if "." not in metric]

    def column(self, metric: str) -> dict[str, float]:
        """Return each sample's value, the mean of its answers'; empty where nobody has it."""
        values = self.by_sample.get(metric, {})
        return {sample: math.fsum(answers) / len(answers) for sample, answers in values.items()}

    def single(self, metric: str) -> bool:
        """Return whether every sample has one answer."""
        return all(len(answers) == 1 for answers in self.by_sample.get(metric, {}).values())

    def is_share(self, metric: str) -> bool:
        """Return whether the metric is a share or a yes/no: every value in 0..1."""
        columns = self.by_sample.get(metric, {}).values()
        return all(0 <= value <= 1 for answers in columns for value in answers)


def usable(value: float | None) -> bool:
    """Return whether a reading is there, finite and not absurdly large."""
    return value is not None and abs(value) <= LARGEST  # False for NaN


def read_scores(observations: Iterable[Observation]) -> Scores:
    """Return the observations of one task cell as scores."""
    columns: dict[str, dict[str, list[float]]] = {}
    broken: dict[str, int] = {}
    answers = 0
    for observation in sorted(observations, key=lambda o: (o.sample, o.repeat)):
        answers += 1
        for metric, value in observation.values.items():
            if usable(value):
                columns.setdefault(metric, {}).setdefault(observation.sample, []).append(value)
            else:
                broken[metric] = broken.get(metric, 0) + 1
    frozen = {
        metric: {sample: tuple(values) for sample, values in column.items()}
        for metric, column in columns.items()
    }
    return Scores(frozen, answers, broken)


def task_scores(
    observations: Mapping[CellKey, Sequence[Observation]],
) -> dict[str, dict[str, Scores]]:
    """Return variant -> task -> scores of every task cell that has observations."""
    found: dict[str, dict[str, Scores]] = {}
    for key, rows in observations.items():
        if key.stage == "task" and rows:
            found.setdefault(key.variant, {})[key.task] = read_scores(rows)
    return found


def shared(*columns: Mapping[str, float]) -> Floats:
    """Return columns over the samples that all of them have, in the same order: [columns, n]."""
    samples = [s for s in columns[0] if all(s in column for column in columns)]
    return np.array([[column[s] for s in samples] for column in columns], dtype=np.float64)


def stacked(scores: Scores, *metrics: str) -> Floats:
    """Return several metrics over the samples that have all of them: [metrics, n]."""
    return shared(*(scores.column(metric) for metric in metrics))
