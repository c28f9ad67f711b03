"""Results as a tidy table: one row a measurement (docs/results.md describes the columns)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from weightcut.analysis import names
from weightcut.analysis.frames import usable
from weightcut.records.results import Interval, Percentiles, Results, VariantResult

_AT = ("p50", "p90", "p99")
_UNITS = {
    "tokens": "tokens",
    "prompt_tokens": "tokens",
    "n": "samples",
    "answers": "answers",
    "kl": "nats/token",
    "mean_logprob": "nats/token",
    "nll_per_token": "nats/token",
    "bits_per_byte": "bits/byte",
}


class Row(BaseModel):
    """One measurement of one variant of one run."""

    model_config = ConfigDict(frozen=True)

    run: str
    started: str
    study: str
    weightcut: str
    model: str
    model_digest: str
    cpu: str
    cores: int | None
    gpus: str
    variant: str
    engine: str
    recipe: str
    baseline: bool
    recommended: bool
    verdict: str
    group: str
    task: str = ""
    metric: str
    at: str = ""
    unit: str = ""
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


def rows(results: Results, run: str) -> Iterator[Row]:
    """Yield every figure of a run that is a number; `run` names it."""
    conditions, machine = results.conditions, results.machine
    model = _mapping(conditions.get("model") or conditions.get("checkpoint"))
    shared: dict[str, Any] = {
        "run": run,
        "started": results.started or "",
        "study": results.study,
        "weightcut": str(_mapping(conditions.get("versions")).get("weightcut") or ""),
        "model": str(model.get("reference") or ""),
        "model_digest": str(model.get("digest") or ""),
        "cpu": str(machine.get("cpu") or ""),
        "cores": machine["cores"] if isinstance(machine.get("cores"), int) else None,
        "gpus": ", ".join(_gpu_names(machine)),
    }
    for variant in results.variants:
        own = {
            "variant": variant.name,
            "engine": variant.engine,
            "recipe": "|".join(str(step.get("kind", "?")) for step in variant.recipe),
            "baseline": variant.name == results.baseline,
            "recommended": variant.name == results.recommended,
            "verdict": variant.verdict,
        }
        for figure in _figures(results, variant):
            if usable(figure["value"]):
                yield Row(**shared, **own, **figure)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _gpu_names(machine: Mapping[str, Any]) -> list[str]:
    gpus = machine.get("gpus")
    found = gpus if isinstance(gpus, list | tuple) else []
    return [str(gpu.get("name", gpu) if isinstance(gpu, Mapping) else gpu) for gpu in found]


def _figures(results: Results, variant: VariantResult) -> Iterator[dict[str, Any]]:
    for task, figures in variant.tasks.items():
        yield from _task(task, figures)
    yield from _profile(variant)
    yield from _against(results, variant)
    yield from _cost(variant, str(results.prices.get("currency") or ""))
    yield _one("artifact", "artifact_bytes", variant.artifact_bytes, unit="bytes")


def _one(group: str, metric: str, value: Any, **more: Any) -> dict[str, Any]:
    """Return a figure; whatever is no number gets the value None."""
    if isinstance(value, Interval):
        value = value.model_dump()
    if isinstance(value, Mapping):
        ends = {key: _number(value.get(key)) for key in ("low", "high")}
        count = value.get("n")
        more |= {key: end if usable(end) else None for key, end in ends.items()}
        more["n"] = count if isinstance(count, int) else more.get("n")
        value = value.get("value")
    return {"group": group, "metric": metric, "value": _number(value), **more}


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else None


def _task(task: str, figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    intervals = _mapping(figures.get("intervals"))
    count = figures.get("n")
    samples = count if isinstance(count, int) else None
    for metric, value in figures.items():
        if metric in ("low", "high", "intervals"):
            continue
        if metric == "value":
            ends = {key: figures.get(key) for key in ("value", "low", "high")}
            yield _one("task", "perplexity", ends, task=task, n=samples)
            continue
        unit = _UNITS.get(metric, "share" if isinstance(value, Mapping) else "")
        found = intervals.get(metric, value)
        yield _one("task", metric, found, task=task, unit=unit, n=samples)


def _percentiles(group: str, metric: str, found: Percentiles, at: str) -> Iterator[dict[str, Any]]:
    for name in _AT:
        where = f"{at} {name}".strip()
        yield _one(group, metric, getattr(found, name), at=where, unit="ms")


def _profile(variant: VariantResult) -> Iterator[dict[str, Any]]:
    profile = variant.profile
    if profile is None:
        return
    for name in ("ttft_ms", "tpot_ms", "latency_ms"):
        yield from _percentiles("profile", name, getattr(profile, name), "")
    for count, rate in profile.tokens_per_s.items():
        yield _one("profile", "tokens_per_s", rate, at=count, unit="tokens/s")
    yield _one("profile", "peak_rss_bytes", profile.peak_rss_bytes, unit="bytes")
    yield _one("profile", "variation", profile.variation, unit="share")
    for when, share in profile.busy.items():
        yield _one("profile", "cpu_taken_by_others", share, at=when, unit="share")
    if profile.load is None:
        return
    for name in ("sustained_per_s", "saturation_per_s"):
        yield _one("load", name, getattr(profile.load, name), unit="requests/s")
    for level in profile.load.levels:
        at = f"{level.rate:g}/s" if level.rate is not None else f"{level.clients} clients"
        for name in ("ttft_ms", "tpot_ms", "latency_ms"):
            yield from _percentiles("load", name, getattr(level, name), at)
        for name, unit in (
            ("answers_per_s", "answers/s"),
            ("goodput_per_s", "answers/s"),
            ("tokens_per_s", "tokens/s"),
            ("in_time", "share"),
            ("error_rate", "share"),
        ):
            yield _one("load", name, getattr(level, name), at=at, unit=unit)


def _against(results: Results, variant: VariantResult) -> Iterator[dict[str, Any]]:
    other = variant.against_baseline
    if other is None:
        return
    group = "against_baseline"
    of = {"task": str(results.keep.get("task") or ""), "at": str(results.keep.get("metric") or "")}
    yield _one(group, "primary_retention", other.primary_retention, unit="ratio", **of)
    for task, metrics in other.retention.items():
        for metric, kept in metrics.items():
            yield _one(group, f"retention.{metric}", kept, task=task, unit="ratio")
    for name in ("latency_speedup", "speedup_same_engine", "size_ratio", "memory_ratio"):
        ends = getattr(other, f"{name}_interval", None)
        yield _one(group, name, ends or getattr(other, name), unit="ratio")
    for count, ratio in other.throughput_speedup.items():
        yield _one(group, "throughput_speedup", ratio, at=count, unit="ratio")
    for name, number in other.flips.items():
        yield _one(group, f"flips_{name}", number, unit="samples")


def _cost(variant: VariantResult, currency: str) -> Iterator[dict[str, Any]]:
    if variant.cost is None:
        return
    for count, batch in variant.cost.at.items():
        joules = names.joules([batch.energy])
        for name, unit in (
            ("seconds_per_answer", "s"),
            ("cpu_seconds_per_answer", "s"),
            ("joules_per_answer", joules),
            ("joules_per_token", joules),
            ("co2_g_per_1000_answers", "g"),
            ("money_per_1000_answers", currency),
            ("money_per_million_tokens", currency),
            ("joules_per_accepted", joules),
            ("money_per_accepted", currency),
        ):
            yield _one("cost", name, getattr(batch, name), at=count, unit=unit)
    for stage, hours in variant.cost.hours.items():
        for kind in ("wall", "cpu", "gpu"):
            yield _one("cost", f"{kind}_hours", getattr(hours, kind), at=stage, unit="h")
