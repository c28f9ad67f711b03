"""A few variants over all measures at once: parallel coordinates, up is better on every axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightcut.records.results import Results, VariantResult
from weightcut.reports import text
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.charts.tradeoff import Measure
from weightcut.reports.charts.trends import COLOURS, MOST, SHAPES

if TYPE_CHECKING:
    import altair as alt


def parallel(
    results: Results, axes: Sequence[Measure], width: int = WIDE, height: int = 320
) -> Figure:
    """Return one line a variant over the measures; each axis runs from the worst to the best.

    A measure in which all variants are alike is drawn in the middle.
    """
    key, title = "parallel", "Side by side"
    variants = list(results.variants)[:MOST]
    known = [axis for axis in axes if sum(axis.read(v) is not None for v in variants) > 1]
    if len(variants) < 2 or len(known) < 2:
        return Figure(key, title, missing="Not drawn: it needs two variants and two measures.")
    rows = [row for axis in known for row in _rows(axis, variants)]
    caption = (
        "Up is better on every axis: its ends are the best and the worst of the variants shown, "
        "so that a small difference may look large. The figures are in the table."
    )
    names = ", ".join(text.plain(v.name) for v in variants)
    description = f"Parallel coordinates of {names} over {', '.join(a.name for a in known)}."
    labels = [axis.name for axis in known]
    chart = _chart(rows, [text.plain(v.name) for v in variants], labels, width, height)
    return Figure(key, title, caption, description, chart)


def _rows(axis: Measure, variants: Sequence[VariantResult]) -> list[dict[str, Any]]:
    read: Mapping[str, float] = {
        text.plain(v.name): found.value
        for v in variants
        for found in [axis.read(v)]
        if found is not None and found.value is not None
    }
    low, high = min(read.values()), max(read.values())
    return [
        {
            "variant": name,
            "axis": axis.name,
            "share": 0.5 if high == low else _share(value, low, high, axis.rises),
            "value": text.number(value),
            "measure": axis.title,
        }
        for name, value in read.items()
    ]


def _share(value: float, low: float, high: float, rises: bool) -> float:
    share = (value - low) / (high - low)
    return share if rises else 1 - share


def _chart(
    rows: list[dict[str, Any]], names: list[str], axes: list[str], width: int, height: int
) -> alt.LayerChart:
    import altair as alt

    narrow = width < WIDE
    legend = alt.Legend(
        orient="top", columns=2 if narrow else 4, labelLimit=150, title=None, symbolOpacity=1
    )
    colour = alt.Color(
        "variant:N", legend=legend, scale=alt.Scale(domain=names, range=COLOURS[: len(names)])
    )
    shape = alt.Shape(
        "variant:N", legend=legend, scale=alt.Scale(domain=names, range=SHAPES[: len(names)])
    )
    x = alt.X(
        "axis:N",
        sort=axes,
        title=None,
        scale=alt.Scale(padding=0.35),
        axis=alt.Axis(
            labelAngle=-35 if narrow or len(axes) > 5 else 0,
            grid=True,
            labelLimit=110 if narrow else 150,
            labelOverlap=False,
        ),
    )
    y = alt.Y(
        "share:Q",
        title=None,
        scale=alt.Scale(domain=[-0.06, 1.06], nice=False),
        axis=alt.Axis(
            values=[0, 1], labelExpr="datum.value == 1 ? 'best' : 'worst'", grid=False, ticks=False
        ),
    )
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            alt.Tooltip("variant:N"),
            alt.Tooltip("measure:N"),
            alt.Tooltip("value:N"),
        ],
    )
    layers = [
        base.mark_line(strokeWidth=2, opacity=0.75),
        base.mark_point(filled=True, size=90).encode(shape=shape),
    ]
    return alt.LayerChart(layer=layers, width=width - 64, height=height)
