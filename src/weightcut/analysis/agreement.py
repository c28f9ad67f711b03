"""Where the primary metric and execution disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from weightcut.analysis.frames import Scores, shared, stacked
from weightcut.analysis.names import metric_name
from weightcut.analysis.quality import ALIASES
from weightcut.analysis.statistics import Floats, spearman
from weightcut.records.results import Agreement, Guard

FEW_VARIANTS = 4
"""A rank correlation over fewer variants is not worth a warning."""


def agreement(
    metric: str, task: str, baseline: str, scores: Mapping[str, Scores]
) -> Agreement | None:
    """Return how far a metric ranks variants and answers as execution does.

    scores: variant -> scores on `task`, baseline included. None where the task runs nothing, or the
    metric is execution itself.
    """
    key = ALIASES.get(metric, metric)
    both = {v: s for v, s in scores.items() if key in s.by_sample and "passed" in s.by_sample}
    if key == "passed" or not both:
        return None
    means: list[tuple[float, float]] = []
    pooled: list[Floats] = []
    changes: list[Floats] = []
    base = both.get(baseline)
    for name, found in both.items():
        columns = stacked(found, key, "passed")
        if len(columns[0]) == 0:
            continue
        pooled.append(columns)
        means.append((float(columns[0].mean()), float(columns[1].mean())))
        if base is not None and name != baseline:
            changes.append(_changes(base, found, key))
    over_variants = spearman(*zip(*means, strict=True)) if len(means) > 2 else None
    return Agreement(
        metric=metric,
        task=task,
        variants=over_variants,
        samples=_pooled(pooled),
        changes=_pooled(changes),
        says=_says(metric, over_variants, _pooled(pooled), _pooled(changes), len(means)),
    )


def _changes(baseline: Scores, variant: Scores, key: str) -> Floats:
    values = shared(*(found.column(k) for found in (baseline, variant) for k in (key, "passed")))
    return values[2:] - values[:2]


def _pooled(parts: Sequence[Floats]) -> float | None:
    if not parts:
        return None
    joined = np.concatenate(parts, axis=1)
    return spearman(joined[0], joined[1])


def _says(
    metric: str, variants: float | None, samples: float | None, changes: float | None, n: int
) -> str:
    parts = [
        f"{value:+.2f} over {what}"
        for value, what in (
            (variants, f"the {n} variants"),
            (samples, "all answers"),
            (changes, "the changes from the baseline, answer by answer"),
        )
        if value is not None
    ]
    if not parts:
        return (
            f"{metric_name(metric)} and execution cannot be ranked against each other: one of them "
            "is constant"
        )
    return f"Spearman's rank correlation of {metric_name(metric)} with passing: {', '.join(parts)}"


def disagreements(
    metric: str,
    found: Agreement | None,
    rises: Mapping[str, float],
    guards: Mapping[str, list[Guard]],
) -> list[str]:
    """Return warnings where the primary metric contradicts execution.

    rises: variant -> retention of the primary metric.
    """
    warnings = []
    for variant, kept in rises.items():
        worse = [g for g in guards.get(variant, []) if g.worse and not g.name.startswith("kl")]
        if kept >= 1 and worse:
            evidence = "; ".join(f"{g.name}: {g.says}" for g in worse)
            warnings.append(
                f"{variant}: {metric_name(metric)} says {kept:.0%} of the baseline, execution says "
                f"worse ({evidence}); believe execution"
            )
    if (
        found
        and found.variants is not None
        and found.variants < 0
        and len(rises) + 1 >= FEW_VARIANTS
    ):
        warnings.append(
            f"{metric_name(metric)} does not rank the variants as execution does (rank correlation "
            f"{found.variants:+.2f}): do not choose by {metric_name(metric)} alone"
        )
    return warnings
