"""`results.csv`: one row a variant, flat columns (docs/results.md)."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from weightcut.files import write_whole
from weightcut.records.results import BatchCost, Interval, Results, VariantResult
from weightcut.reports import measures, text

FILE = "results.csv"
Value = str | float | int | bool | None
_FORMULA = ("=", "+", "-", "@")


def write(results: Results, folder: Path) -> Path:
    """Write `results.csv` (UTF-8, RFC 4180, dots as decimal signs, missing values empty)."""
    rows = [row(results, variant) for variant in results.variants]
    columns = list(rows[0]) if rows else ["name"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: written(value) for key, value in one.items()} for one in rows)
    path = folder / FILE
    write_whole(path, stream.getvalue().encode())
    return path


def row(results: Results, variant: VariantResult) -> dict[str, Value]:
    """Return a variant's flat figures; every variant of a study has the same columns."""
    found: dict[str, Value] = {
        "study": results.study,
        "name": variant.name,
        "baseline": variant.name == results.baseline,
        "recommended": variant.name == results.recommended,
        "engine": variant.engine,
        "recipe": measures.recipe(variant),
        "verdict": variant.verdict,
        "verdict_reasons": "; ".join(variant.verdict_reasons),
        "further_samples": variant.further_samples,
        "meets_target": variant.meets_target,
        "on_frontier": variant.on_frontier,
        "artifact_bytes": variant.artifact_bytes,
    }
    for task in measures.task_names(results):
        for metric in measures.metric_names(results, task):
            ends = _ends(f"{task}.{metric}", measures.measure(variant, task, metric))
            known = any(_has_ends(measures.measure(v, task, metric)) for v in results.variants)
            found |= ends if known else dict(list(ends.items())[:1])
    found |= _profile(results, variant)
    found |= _against(results, variant)
    found |= _cost(results, variant)
    found["guards_worse"] = "; ".join(guard.name for guard in variant.guards if guard.worse)
    found["errors"] = "; ".join(variant.errors)
    return found


def _ends(name: str, value: Interval | None) -> dict[str, Value]:
    return {
        name: value.value if value else None,
        f"{name}.low": value.low if value else None,
        f"{name}.high": value.high if value else None,
    }


def _has_ends(value: Interval | None) -> bool:
    return value is not None and (value.low is not None or value.high is not None)


def _profile(results: Results, variant: VariantResult) -> dict[str, Value]:
    found: dict[str, Value] = {}
    profile = variant.profile
    for reading in ("ttft_ms", "tpot_ms", "latency_ms"):
        for at in ("p50", "p90", "p99"):
            value = getattr(getattr(profile, reading), at) if profile else None
            found[f"{reading}.{at}"] = value
    rates = measures.throughput(variant)
    for count in measures.concurrencies(results):
        found[f"tokens_per_s.{count}"] = rates.get(count)
    found["peak_rss_bytes"] = measures.memory(variant)
    found["quiet"] = profile.quiet if profile else None
    found["variation"] = profile.variation if profile else None
    load = profile.load if profile else None
    found["sustained_per_s"] = load.sustained_per_s if load else None
    found["saturation_per_s"] = load.saturation_per_s if load else None
    return found


def _cost(results: Results, variant: VariantResult) -> dict[str, Value]:
    found: dict[str, Value] = {}
    cost = variant.cost
    for count in sorted({n for v in results.variants for n in measures.costs(v)}):
        batch = measures.costs(variant).get(count)
        for name in BatchCost.model_fields:
            value = getattr(batch, name) if batch else None
            if name.endswith("_accepted"):
                found |= _ends(f"{name}.{count}", value)
            else:
                found[f"{name}.{count}"] = value
    stages = {stage for v in results.variants if v.cost for stage in v.cost.hours}
    for stage in sorted(stages):
        hours = cost.hours.get(stage) if cost else None
        for kind in ("wall", "cpu", "gpu"):
            found[f"hours.{stage}.{kind}"] = getattr(hours, kind) if hours else None
    found["currency"] = str(results.prices.get("currency") or "") or None
    return found


def _against(results: Results, variant: VariantResult) -> dict[str, Value]:
    other = variant.against_baseline
    found = _ends("primary_retention", measures.primary_retention(variant))
    for task, metric in measures.retained(results):
        found |= _ends(f"retention.{task}.{metric}", measures.retention(variant, task, metric))
    for name in ("latency_speedup", "speedup_same_engine"):
        found[name] = getattr(other, name) if other else None
        ends = getattr(other, f"{name}_interval") if other else None
        found |= {f"{name}.{end}": getattr(ends, end) if ends else None for end in ("low", "high")}
    for name in ("size_ratio", "memory_ratio"):
        found[name] = getattr(other, name) if other else None
    for count in measures.concurrencies(results):
        ratios = other.throughput_speedup if other else {}
        found[f"throughput_speedup.{count}"] = ratios.get(str(count))
    return found


def written(value: Value) -> str | float | int | None:
    """Return a value as a cell: no NaN, no formula that a spreadsheet would run."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        known = text.finite(value)
        return int(known) if known is not None and known.is_integer() else known
    if not isinstance(value, str):
        return value
    safe = text.plain(value)
    # A spreadsheet would run a text that starts like a formula.
    return f"'{safe}" if safe.startswith(_FORMULA) else safe
