"""The results in a terminal: a table that fits its width, and the recommendation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightcut.records.results import Results, Verdict
from weightcut.reports import measures, text, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from weightcut.records.results import VariantResult

_STYLES: dict[Verdict, str] = {
    "baseline": "bold",
    "retained": "green",
    "undecided": "yellow",
    "lost": "red",
    "unmeasured": "dim",
}
_NAME_COLUMNS = 28


def summary(results: Results) -> str:
    """Return the recommendation, a paragraph in plain words."""
    return view.summary(results)


def table(results: Results) -> StudyTable:
    """Return the results as something rich can print, one row a variant."""
    return StudyTable(results)


class StudyTable:
    """A table that shows as many columns as the terminal is wide enough for."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the widest form that fits, the narrowest one otherwise."""
        from rich.measure import Measurement

        chosen = self._table(0)
        for level in range(1, _LEVELS + 1):
            roomy = options.update_width(1000)
            if Measurement.get(console, roomy, chosen).maximum <= options.max_width:
                break
            chosen = self._table(level)
        yield chosen

    def _table(self, level: int) -> Table:
        """Return the table with the columns that are not dropped at this level."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        results = self._results
        found = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            padding=(0, 1, 0, 0),
            header_style="bold",
        )
        columns = [c for c in _columns(results) if c[2] == 0 or level < c[2]]
        found.add_column("variant", no_wrap=True)
        for label, *_ in columns:
            right = label not in ("verdict", "target")
            found.add_column(label, justify="right" if right else "left", no_wrap=True)
        for variant in results.variants:
            name = text.shorten(text.plain(variant.name), _NAME_COLUMNS if level < 3 else 18)
            best = variant.name == results.recommended
            cells = [Text(f"→ {name}" if best else f"  {name}", style="bold" if best else "")]
            for label, read, _ in columns:
                style = _STYLES[variant.verdict] if label == "verdict" else ""
                cells.append(Text(read(variant), style=style))
            found.add_row(*cells)
        found.caption = Text(
            "→ recommended   ◁ on the Pareto frontier   [ ] confidence interval", style="dim"
        )
        found.caption_justify = "left"
        return found


_LEVELS = 7


def _columns(results: Results) -> list[tuple[str, Callable[[VariantResult], str], int]]:
    """Return heading, reader and the level at which a column is dropped (0: never)."""
    first = measures.primary(results)
    columns: list[tuple[str, Callable[[VariantResult], str], int]] = [
        ("verdict", lambda v: text.verdict(v.verdict) + (" ◁" if v.on_frontier else ""), 0)
    ]
    if first:
        task, metric = first.task, first.metric
        columns += [
            (first.name, lambda v: _value(v, task, metric), 5),
            (f"{first.name} kept", lambda v: _kept(v), 0),
        ]
        if metric != "pass@1":
            columns.append(("pass@1", lambda v: _value(v, task, "pass@1"), 3))
    columns += [
        ("latency", lambda v: text.milliseconds(measures.latency(v)), 4),
        ("speed-up", lambda v: text.times(_speedup(v)), 0),
    ]
    counts = measures.concurrencies(results)
    if counts:
        most = counts[-1]
        label = f"tok/s × {most}"
        columns.append((label, lambda v: text.number(measures.throughput(v).get(most)), 1))
    return [
        *columns,
        ("memory", lambda v: text.size(measures.memory(v)), 2),
        ("size", lambda v: text.size(v.artifact_bytes), 7),
        ("target", lambda v: text.yes(v.meets_target), 6),
    ]


def _value(variant: VariantResult, task: str, metric: str) -> str:
    found = measures.measure(variant, task, metric)
    return text.score(found.value if found else None)


def _kept(variant: VariantResult) -> str:
    found = measures.primary_retention(variant)
    if found is None or found.value is None:
        return text.MISSING
    if found.low is None or found.high is None:
        return f"{found.value:.2f}"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _speedup(variant: VariantResult) -> float | None:
    return variant.against_baseline.latency_speedup if variant.against_baseline else None
