"""Reading figures out of `Results`, whatever of them is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightcut.analysis import names
from weightcut.records.results import BatchCost, Interval, LoadLevel, Results, VariantResult
from weightcut.reports.text import finite, metric_name

LOWER_IS_BETTER = {
    "perplexity",
    "bits_per_byte",
    "kl",
    "degenerate",
    "repetition",
    "token_limit",
}
_SAME = {"passed": "pass@1", "top1": "top1_agreement"}


@dataclass(frozen=True)
class Primary:
    """The primary metric of a study: the task that it is of, its name, the share to keep."""

    task: str
    metric: str
    share: float | None

    @property
    def name(self) -> str:
        """The metric's name for people."""
        return metric_name(self.metric)

    @property
    def falls(self) -> bool:
        """Whether a lower value of the metric is the better one."""
        return self.metric in LOWER_IS_BETTER


def primary(results: Results) -> Primary | None:
    """Return the study's primary metric, or None where no variant has a figure of it."""
    raw = str(results.keep.get("metric") or "codebleu")
    metric = _SAME.get(raw, raw)
    named = str(results.keep.get("task") or "")
    for task in [named] if named else task_names(results):
        if any(measure(variant, task, metric) for variant in results.variants):
            return Primary(task, metric, finite(results.keep.get("share")))
    return None


def quality(variant: VariantResult, first: Primary) -> Interval | None:
    """Return the figure that charts rank by, higher is better.

    The primary metric itself, or what is kept of it where lower values are the better ones.
    """
    if first.falls:
        return primary_retention(variant)
    return measure(variant, first.task, first.metric)


def primary_retention(variant: VariantResult) -> Interval | None:
    """Return how much of the baseline's primary metric the variant keeps, 1 meaning all."""
    other = variant.against_baseline
    return as_interval(other.primary_retention) if other else None


def task_names(results: Results) -> list[str]:
    """Return the names of all tasks that some variant has figures of, in order."""
    return list(dict.fromkeys(task for variant in results.variants for task in variant.tasks))


def metric_names(results: Results, task: str) -> list[str]:
    """Return the names of all figures that some variant has of a task, in order."""
    found = (m for variant in results.variants for m in variant.tasks.get(task, {}))
    return [
        metric
        for metric in dict.fromkeys(found)
        if metric not in ("low", "high")
        and any(measure(variant, task, metric) for variant in results.variants)
    ]


def measure(variant: VariantResult, task: str, metric: str) -> Interval | None:
    """Return a figure of a task; a number without ends becomes an interval without ends.

    Tasks on text keep the perplexity as `value` and the ends of other figures in `intervals`.
    """
    found = variant.tasks.get(task, {})
    ends = found.get("intervals")
    if isinstance(ends, Mapping) and metric in ends:
        return as_interval(ends[metric])
    if metric in ("value", "perplexity") and not isinstance(found.get("perplexity"), Mapping):
        return as_interval(found)
    return as_interval(found.get(metric))


def as_interval(raw: Any) -> Interval | None:
    """Return a number, a mapping or an Interval as an Interval; None where it has no value."""
    if isinstance(raw, Interval):
        raw = raw.model_dump()
    if isinstance(raw, Mapping):
        value, low, high = (finite(raw.get(key)) for key in ("value", "low", "high"))
    else:
        value, low, high = finite(raw), None, None
    return None if value is None else Interval(value=value, low=low, high=high)


def retention(variant: VariantResult, task: str, metric: str) -> Interval | None:
    """Return how much of the baseline's value of a metric the variant keeps, 1 meaning all."""
    other = variant.against_baseline
    return as_interval(other.retention.get(task, {}).get(metric)) if other else None


def retained(results: Results) -> list[tuple[str, str]]:
    """Return task and metric of the retentions that reports show: the primary, then pass@1."""
    first = primary(results)
    wanted = [(first.task, first.metric)] if first else []
    wanted += [(task, "pass@1") for task in task_names(results)]
    return [
        pair
        for pair in dict.fromkeys(wanted)
        if any(retention(variant, *pair) for variant in results.variants)
    ]


def latency(variant: VariantResult) -> float | None:
    """Return the median latency of whole answers at batch 1, in milliseconds."""
    return finite(variant.profile.latency_ms.p50) if variant.profile else None


def speedup(variant: VariantResult) -> float | None:
    """Return the baseline's median latency over the variant's."""
    return finite(variant.against_baseline.latency_speedup) if variant.against_baseline else None


def memory(variant: VariantResult) -> int | None:
    """Return the peak resident memory of the process, in bytes."""
    return variant.profile.peak_rss_bytes if variant.profile else None


def throughput(variant: VariantResult) -> dict[int, float]:
    """Return tokens per second by number of concurrent sequences, in rising order."""
    raw = variant.profile.tokens_per_s if variant.profile else {}
    known = {int(n): value for n, value in raw.items() if n.isdecimal() and finite(value)}
    return dict(sorted(known.items()))


def costs(variant: VariantResult) -> dict[int, BatchCost]:
    """Return what answers cost by number of concurrent sequences, in rising order."""
    at = variant.cost.at if variant.cost else {}
    return dict(sorted((int(n), batch) for n, batch in at.items() if n.isdecimal()))


def energy_kinds(results: Results) -> set[str]:
    """Return how the energies of a study are known: `counters`, `estimate`, `mixed`."""
    return {b.energy for v in results.variants for b in costs(v).values() if b.energy}


def joules(results: Results) -> str:
    """Return the unit of a study's energies, with a word where any is an estimate."""
    return names.joules(energy_kinds(results))


def energy_formula(results: Results) -> str:
    """Return in words how energies are estimated where the hardware has no counter."""
    busy, idle = (finite(results.prices.get(key)) for key in ("watts_per_core", "idle_watts"))
    watts = "the configured watts" if busy is None else f"{busy:g} W"
    besides = f" plus seconds times {idle:g} W for the machine besides" if idle else ""
    return f"CPU seconds times {watts} for a busy core{besides}"


def cost_at(variant: VariantResult, count: int, field: str) -> float | None:
    """Return what an answer costs where so many are produced at once."""
    batch = costs(variant).get(count)
    return finite(getattr(batch, field)) if batch else None


def most_at_once(results: Results, field: str) -> int:
    """Return the most concurrent sequences of which some variant has that cost, 0 for none."""
    return max(
        (n for v in results.variants for n in costs(v) if cost_at(v, n, field) is not None),
        default=0,
    )


def load_levels(variant: VariantResult) -> list[LoadLevel]:
    """Return a variant's readings under load."""
    load = variant.profile.load if variant.profile else None
    return load.levels if load else []


def concurrencies(results: Results) -> list[int]:
    """Return every number of concurrent sequences that some variant was measured at."""
    return sorted({n for variant in results.variants for n in throughput(variant)})


def recipe(variant: VariantResult) -> str:
    """Return the recipe as a person would write it: `prune-depth(ratio=0.15) → int8`."""
    return " → ".join(_step(step) for step in variant.recipe) or "as it is"


def _step(step: Mapping[str, Any]) -> str:
    settings = step.get("settings")
    given = settings if isinstance(settings, Mapping) else step
    inner = ", ".join(f"{k}={_short(v)}" for k, v in given.items() if k not in ("kind", "settings"))
    return f"{step.get('kind', '?')}({inner})" if inner else str(step.get("kind", "?"))


def _short(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def find(results: Results, name: str | None) -> VariantResult | None:
    """Return the variant of that name, or None."""
    return next((variant for variant in results.variants if variant.name == name), None)
