"""How variants fared from run to run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weightcut.analysis.tidy import Row
from weightcut.reports import text
from weightcut.reports.charts.figure import WIDE

if TYPE_CHECKING:
    import altair as alt

MOST = 8  # variants that colours tell apart
# Okabe and Ito (2008), without their yellow, which is too faint on white.
COLOURS = ["#1b1f24", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#56b4e9", "#e69f00", "#767d86"]
SHAPES = [
    "square",
    "circle",
    "diamond",
    "triangle-down",
    "triangle-up",
    "cross",
    "stroke",
    "wedge",
]
_TASK_COLUMNS = 40


class Trends(NamedTuple):
    """The chart of all panels, None where `missing` says why, and the variants left out of it."""

    chart: alt.VConcatChart | None
    missing: str = ""
    left_out: int = 0


class _Panel(NamedTuple):
    title: str
    takes: Callable[[Row], bool]
    factor: float = 1.0


def _is(group: str, metric: str, at: str = "", task: str = "") -> Callable[[Row], bool]:
    wanted = (group, metric, at, task)
    return lambda row: (row.group, row.metric, row.at, row.task) == wanted


_QUALITIES = (
    ("against_baseline", "primary_retention"),
    ("task", "pass@1"),
    ("task", "perplexity"),
)
_MEASURES = (
    _Panel("latency p50 (ms)", _is("profile", "latency_ms", "p50")),
    _Panel("peak memory (MB)", _is("profile", "peak_rss_bytes"), 1e-6),
)


def trends(rows: Sequence[Row], runs: Sequence[str], width: int = WIDE) -> Trends:
    """Return one panel a measure, one line a variant, over the runs in the order given.

    Quality is that of the task, and of the metric, that most runs share.
    """
    if len(runs) < 2:
        return Trends(None, "Not drawn: a trend needs two runs.")
    seen = Counter(name for _, name in {(row.run, row.variant) for row in rows})
    kept = [name for name, _ in seen.most_common(MOST)]
    names = [name for name in dict.fromkeys(row.variant for row in rows) if name in kept]
    panels = [panel for measure in _QUALITIES for panel in _quality(rows, *measure)]
    panels += [*_MEASURES, *_widest(rows)]
    drawn = [(panel, _points(rows, panel, names, runs)) for panel in panels]
    drawn = [(panel, points) for panel, points in drawn if points]
    if not drawn:
        return Trends(None, "Not drawn: the runs share no measurement.")
    return Trends(_chart(drawn, names, runs, width), left_out=len(seen) - len(names))


def _quality(rows: Sequence[Row], group: str, metric: str) -> list[_Panel]:
    """Return the panel of a measure for the task, and the metric, that most runs share."""
    runs: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if (row.group, row.metric) == (group, metric):
            runs.setdefault((row.task, row.at), set()).add(row.run)
    if not runs:
        return []
    task, at = max(runs, key=lambda one: len(runs[one]))
    name = metric
    if metric == "primary_retention":
        name = f"{text.metric_name(at) or 'quality'} kept (share of the baseline)"
    shown = [name, text.shorten(text.plain(task), _TASK_COLUMNS)]
    return [_Panel(", ".join(filter(None, shown)), _is(group, metric, at, task))]


def _widest(rows: Sequence[Row]) -> list[_Panel]:
    """Return the panels at the largest number of concurrent sequences that any run has."""
    counts = [int(r.at) for r in rows if r.metric == "tokens_per_s" and r.at.isdecimal()]
    if not counts:
        return []
    at = str(max(counts))
    energy = _is("cost", "joules_per_accepted", at)
    units = {row.unit for row in rows if energy(row)}
    unit = units.pop() if len(units) == 1 else "J, partly estimate"
    return [
        _Panel(f"tokens/s, {at} at once", _is("profile", "tokens_per_s", at)),
        _Panel(f"energy per accepted answer, {at} at once ({unit})", energy),
    ]


def _points(
    rows: Sequence[Row], panel: _Panel, names: Sequence[str], runs: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for row in rows:
        if row.variant in names and panel.takes(row):
            ends = [None if x is None else panel.factor * x for x in (row.value, row.low, row.high)]
            point = dict(zip(("value", "low", "high"), ends, strict=True))
            found.append(
                {"order": runs.index(row.run), "variant": text.plain(row.variant), **point}
            )
    return found


def _chart(
    drawn: Sequence[tuple[_Panel, list[dict[str, Any]]]],
    names: Sequence[str],
    runs: Sequence[str],
    width: int,
) -> alt.VConcatChart:
    import altair as alt

    shown = [text.plain(name) for name in names]
    labels = ["".join(map(_tame, text.shorten(run, 18))) for run in runs]
    legend = alt.Legend(orient="top", columns=4, labelLimit=150, title=None, symbolOpacity=1)
    colour = alt.Color(
        "variant:N", scale=alt.Scale(domain=shown, range=COLOURS[: len(shown)]), legend=legend
    )
    shape = alt.Shape(
        "variant:N", scale=alt.Scale(domain=shown, range=SHAPES[: len(shown)]), legend=legend
    )
    panels = []
    for panel, points in drawn:
        data = alt.InlineData(values=points)
        x = alt.X(
            "order:Q",
            title="run" if panel is drawn[-1][0] else None,
            scale=alt.Scale(domain=[-0.3, len(runs) - 0.7], nice=False),
            axis=alt.Axis(
                values=list(range(len(runs))),
                labelExpr=f"{labels!r}[datum.value]",
                labelAngle=-30 if len(runs) > 4 else 0,
                labelOverlap=True,
                grid=False,
            ),
        )
        y = alt.Y(
            "value:Q",
            title=None,
            scale=alt.Scale(zero=False),
            axis=alt.Axis(tickCount=4, format=",.6~g", minExtent=44, maxExtent=44),
        )
        base = alt.Chart(data)
        bars = (
            base.transform_filter("isValid(datum.low) && isValid(datum.high)")
            .mark_rule(strokeWidth=1.5, opacity=0.35)
            .encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
        )
        line = base.mark_line(strokeWidth=1.5, opacity=0.7).encode(x=x, y=y, color=colour)
        marks = base.mark_point(filled=True, size=70).encode(
            x=x, y=y, color=colour, shape=shape, tooltip=["variant:N", "value:Q"]
        )
        title = alt.Title(panel.title, anchor="start", fontSize=12, offset=6)
        layers = alt.layer(bars, line, marks)
        panels.append(layers.properties(width=width - 64, height=120, title=title))
    return alt.vconcat(*panels, spacing=14)


def _tame(letter: str) -> str:
    """Return a letter as it may stand in a text of a Vega expression."""
    return letter if letter.isalnum() or letter in " -_.,:/…" else "?"
