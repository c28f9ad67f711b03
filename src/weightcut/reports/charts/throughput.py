"""Tokens per second by number of concurrent sequences."""

from __future__ import annotations

from weightcut.records.results import Results
from weightcut.reports import measures, text
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.charts.lines import Axes, chart


def throughput(results: Results, width: int = WIDE, height: int = 340) -> Figure:
    """Return one line a variant: tokens per second of all sequences together."""
    found = {v.name: measures.throughput(v) for v in results.variants if measures.throughput(v)}
    key, title = "throughput", "Throughput by concurrency"
    if not found:
        return Figure(key, title, missing="Not drawn: no variant has a throughput yet.")
    counts = measures.concurrencies(results)
    best = max(found, key=lambda name: max(found[name].values()))
    description = (
        f"Line chart of tokens per second at {', '.join(map(str, counts))} concurrent sequences "
        f"for {len(found)} variants. Highest: {text.plain(best)} with "
        f"{text.number(max(found[best].values()))} tokens per second."
    )
    caption = "Tokens per second of all sequences together; higher is better."
    without = len(results.variants) - len(found)
    if without:
        caption += f" {without} of {len(results.variants)} variants are missing: no figure yet."
    axes = Axes("concurrent sequences", "throughput (tokens/s)", counts)
    series = {name: {float(n): rate for n, rate in rates.items()} for name, rates in found.items()}
    return Figure(
        key, title, caption, description, chart(results, series, axes, width - 64, height)
    )
