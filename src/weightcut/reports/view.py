"""What a report says, as tables and paragraphs of text; the formats only lay it out.

Nothing here is escaped: each format escapes in its own way.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weightcut.records.results import Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.cost_tables import costs, under_load
from weightcut.reports.limits import limits, method
from weightcut.reports.tables import Table, guards, overview, quality, recipes, speed
from weightcut.reports.training import training

_LONG = 600
Pair = tuple[str, str]


@dataclass(frozen=True)
class Reasons:
    """A variant's verdict and why."""

    name: str
    verdict: str
    symbol: str
    reasons: list[str]
    errors: list[str]


@dataclass(frozen=True)
class Page:
    """Everything a report shows, top down."""

    title: str
    study: str
    recommended: str | None
    summary: str
    figures: list[Pair]
    gaps: list[str]
    warnings: list[str]
    notes: list[str]
    tables: list[Table]
    reasons: list[Reasons]
    guards: Table
    agreement: str
    rule: str
    method: list[str]
    limits: list[str]
    conditions: list[Pair]
    machine: list[Pair]
    skipped: list[Pair]
    reproduce: list[str]


def page(results: Results) -> Page:
    """Return what a report says of a study, whatever of it is missing."""
    return Page(
        title=f"{text.plain(results.study)}: which version to deploy",
        study=text.plain(results.study),
        recommended=None if results.recommended is None else text.plain(results.recommended),
        summary=summary(results),
        figures=_figures(results),
        gaps=gaps(results),
        warnings=[text.plain(warning) for warning in results.warnings],
        notes=list(dict.fromkeys(_notes(results.conditions))),
        tables=[
            overview(results),
            *quality(results),
            speed(results),
            *under_load(results),
            *training(results),
            *costs(results),
            recipes(results),
        ],
        reasons=[_reasons(variant) for variant in results.variants],
        guards=guards(results),
        agreement=text.plain(results.agreement.says) if results.agreement else "",
        rule=_rule(results),
        method=method(results),
        limits=limits(results),
        conditions=list(_flat(results.conditions)),
        machine=list(_flat(results.machine)),
        skipped=[(text.plain(s.cell), text.plain(s.reason)) for s in results.skipped],
        reproduce=_reproduce(results),
    )


def summary(results: Results) -> str:
    """Return the recommendation in plain words."""
    if results.recommendation.strip():
        return text.plain(results.recommendation.strip())
    if results.recommended is None:
        return "Nothing can be recommended yet."
    return f"Deploy {text.plain(results.recommended)}."


def gaps(results: Results) -> list[str]:
    """Return what is missing from the results, in words."""
    found = []
    others = [v for v in results.variants if v.name != results.baseline]
    if not results.complete:
        found.append("The study is not finished: some of its cells failed or have not run.")
    if not results.variants:
        found.append("There are no variants.")
    elif not others:
        found.append("There is only the baseline here: nothing is compared with it.")
    if measures.find(results, results.baseline) is None and results.variants:
        name = text.plain(results.baseline)
        found.append(f"The baseline {name} is not among the variants shown here.")
    if results.variants and not measures.task_names(results):
        found.append("No task has been measured: there are no figures on quality.")
    unmeasured = [v for v in results.variants if v.verdict == "unmeasured"]
    if unmeasured:
        found.append(f"Without a measured quality: {_names(unmeasured)}.")
    slow = [v for v in results.variants if v.profile is None]
    if slow and len(slow) == len(results.variants):
        found.append("No speed or memory has been measured.")
    elif slow:
        found.append(f"Without a measured speed and memory: {_names(slow)}.")
    failed = [v for v in results.variants if v.errors]
    if failed:
        found.append(f"With errors: {_names(failed)}.")
    return found


def _names(variants: list[VariantResult], most: int = 12) -> str:
    names = [text.plain(variant.name) for variant in variants]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _figures(results: Results) -> list[Pair]:
    """Return the recommended variant's figures that matter most, those that are known."""
    chosen = measures.find(results, results.recommended)
    if chosen is None:
        return []
    first = measures.primary(results)
    other = chosen.against_baseline
    if chosen.name == results.baseline:
        value = measures.quality(chosen, first) if first else None
        pairs = [(first.name if first else "quality", text.interval(value))]
        other = None
    else:
        kept = measures.primary_retention(chosen)
        pairs = [(f"{first.name if first else 'quality'} kept", text.interval_of_shares(kept))]
    pairs += [
        ("times as fast", text.times(other.latency_speedup if other else None)),
        ("median latency", text.milliseconds(measures.latency(chosen))),
        ("peak memory", text.size(measures.memory(chosen))),
        ("size on disk", text.size(chosen.artifact_bytes)),
    ]
    return [(label, value) for label, value in pairs if value != text.MISSING]


def _reasons(variant: VariantResult) -> Reasons:
    reasons = [text.plain(reason) for reason in variant.verdict_reasons]
    if variant.further_samples is not None and variant.verdict == "undecided":
        told = str(variant.further_samples) in " ".join(reasons)
        if not told:
            reasons.append(f"about {variant.further_samples} more samples would decide")
    return Reasons(
        text.plain(variant.name),
        variant.verdict,
        text.SYMBOLS[variant.verdict],
        reasons,
        [text.shorten(text.plain(error), _LONG) for error in variant.errors],
    )


def _rule(results: Results) -> str:
    """Return how a verdict is reached, in words, with this study's own limits."""
    first = measures.primary(results)
    metric = first.name if first else text.metric_name(str(results.keep.get("metric", "quality")))
    share = text.finite(results.keep.get("share"))
    confidence = text.finite(results.keep.get("confidence"))
    limit = text.finite(results.keep.get("kl_limit"))
    speed_up = text.finite(results.target.get("latency_speedup"))
    words = [
        f"A variant is retained where the whole {_percent(confidence)} interval of what it keeps "
        f"of the baseline's {metric} lies above the margin ({_percent(share)}) and no guard is "
        "significantly worse; lost where the interval lies below the margin or a guard is worse; "
        "undecided otherwise."
    ]
    if limit is not None:
        words.append(f"The KL guard allows {limit:g} nats per token.")
    if speed_up is not None:
        words.append(f"The target is retained quality at {speed_up:g} times the baseline's speed.")
    return " ".join(words)


def _percent(value: float | None) -> str:
    return "confidence" if value is None else f"{value:.0%}"


def _notes(data: Any) -> Iterator[str]:
    """Yield the notes that lie anywhere in the conditions: what readers must know."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key in ("note", "notes"):
                listed = value if isinstance(value, list | tuple) else [value]
                yield from (text.plain(item) for item in listed if item)
            else:
                yield from _notes(value)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from _notes(item)


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[Pair]:
    for key, value in data.items():
        name = f"{prefix}{text.plain(key)}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        else:
            yield name, text.shorten(_plain_value(name, value), _LONG)


def _plain_value(name: str, value: Any) -> str:
    if value is None or value in ("", [], {}):
        return text.MISSING
    if isinstance(value, bool):
        return text.yes(value)
    if name.endswith("_bytes") and text.finite(value) is not None:
        return text.size(value)
    if isinstance(value, int) and name.endswith("parameters"):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            return ", ".join(text.plain(item) for item in value)
        return text.plain(json.dumps(value, ensure_ascii=False, default=str))
    return text.plain(value)


def _reproduce(results: Results) -> list[str]:
    study = shlex.quote(text.plain(results.study))
    out = shlex.quote(f"runs/{text.plain(results.study)}")
    return [
        f"weightcut plan {study}",
        f"weightcut run {study} --out {out}",
        f"weightcut report {out} --format md,html,pdf,csv,json",
    ]
