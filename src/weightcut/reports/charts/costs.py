"""What an accepted answer costs by number of concurrent sequences; latency under load."""

from __future__ import annotations

from typing import Literal

from weightcut.records.results import Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.charts.lines import Axes, Series, chart

Of = Literal["energy", "money"]


def cost(results: Results, of: Of, width: int = WIDE, height: int = 340) -> Figure:
    """Return one line a variant: joules or money for each accepted answer."""
    series = {v.name: _per_accepted(v, of) for v in results.variants}
    series = {name: line for name, line in series.items() if line}
    what = "Energy" if of == "energy" else "Money"
    key, title = f"cost-{of}", f"{what} per accepted answer, by concurrency"
    if not series:
        return Figure(key, title, missing=f"Not drawn: {_lack(results, of)}.")
    currency = text.plain(results.prices.get("currency") or "money")
    unit = f"{currency} per 1,000 accepted answers"
    if of == "energy":
        unit = f"{measures.joules(results)}, per accepted answer"
    caption = f"What all answers take over those that pass their tests ({unit}); lower is better."
    kinds = measures.energy_kinds(results)
    if of == "energy" and kinds - {"counters"}:
        caption += " An estimate from CPU seconds, not a measurement."
    without = len(results.variants) - len(series)
    if without:
        caption += f" {without} of {len(results.variants)} variants are missing: no figure."
    best = min(series, key=lambda name: min(series[name].values()))
    description = (
        f"Line chart of {unit} at different numbers of concurrent sequences for {len(series)} "
        f"variants. Lowest: {text.plain(best)} with {text.number(min(series[best].values()))}."
    )
    axes = Axes("concurrent sequences", unit, _steps(series))
    drawn = chart(results, series, axes, width - 64, height, fine="lowest")
    return Figure(key, title, caption, description, drawn)


def _per_accepted(variant: VariantResult, of: Of) -> dict[float, float]:
    found = {}
    for count, batch in measures.costs(variant).items():
        one = batch.joules_per_accepted if of == "energy" else batch.money_per_accepted
        value = text.finite(one.value) if one else None
        if value:
            found[float(count)] = value if of == "energy" else 1000 * value
    return found


def _lack(results: Results, of: Of) -> str:
    if of == "money" and results.prices.get("machine_per_hour") is None:
        return "there is no price file (docs/cost.md)"
    return "no variant has a cost per accepted answer"


def under_load(results: Results, width: int = WIDE, height: int = 340) -> Figure:
    """Return one line a variant: 90th percentile of the latency by rate of arrivals."""
    series: dict[str, dict[float, float]] = {}
    for variant in results.variants:
        line = {
            level.rate: p90
            for level in measures.load_levels(variant)
            for p90 in [text.finite(level.latency_ms.p90)]
            if level.rate and p90
        }
        if line:
            series[variant.name] = line
    key, title = "load", "Latency under load"
    if not series:
        return Figure(key, title, missing="Not drawn: no variant was put under load.")
    caption = (
        "90th percentile from arrival to the end of the answer, waiting included, at Poisson "
        "arrivals; lower is better. Where a line bends upwards, answers fall behind."
    )
    best = min(series, key=lambda name: max(series[name].items())[1])
    description = (
        f"Line chart of the 90th percentile of latency by arrivals per second for {len(series)} "
        f"variants. Lowest at the highest rate: {text.plain(best)}."
    )
    axes = Axes("arrivals (requests/s)", "latency p90 (ms)", _steps(series))
    drawn = chart(results, series, axes, width - 64, height, fine="lowest")
    return Figure(key, title, caption, description, drawn)


def _steps(series: Series) -> list[float]:
    return sorted({step for line in series.values() for step in line})
