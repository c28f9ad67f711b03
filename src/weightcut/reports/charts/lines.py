"""One line a variant over a quantity that is doubled from step to step, names at their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weightcut.records.results import Results, VariantResult
from weightcut.reports import text
from weightcut.reports.charts import labels, style

if TYPE_CHECKING:
    import altair as alt

_NAME_PX = 150
_GAP_PX = 14
_SPAN = 30  # ratio of the largest to the smallest value from which on their axis is logarithmic
Series = Mapping[str, Mapping[float, float]]


@dataclass(frozen=True)
class Axes:
    """The titles of the axes and the steps on the one across."""

    x: str
    y: str
    steps: Sequence[float]


@dataclass(frozen=True)
class _Plot:
    """The plot in pixels and the range of its axes."""

    width: int
    height: int
    names: int
    across: tuple[float, float]
    up: tuple[float, float]
    logarithmic: bool

    def y(self, value: float) -> float:
        """Return a value's place in pixels, downwards."""
        low, high = self.up
        if self.logarithmic:
            return self.height * (1 - _share(value, low, high))
        return self.height * (1 - (value - low) / (high - low))

    def value(self, y: float) -> float:
        """Return the value at a place."""
        low, high = self.up
        share = 1 - y / self.height
        return low * (high / low) ** share if self.logarithmic else low + (high - low) * share


def _share(value: float, low: float, high: float) -> float:

    return math.log(value / low) / math.log(high / low)


def chart(
    results: Results, series: Series, axes: Axes, width: int, height: int, *, fine: str = "highest"
) -> alt.LayerChart:
    """Return the chart of the variants in `series` (name -> step -> value, all above 0).

    fine: `highest` or `lowest`, whose names are shown where there is no room for all.
    """
    import altair as alt

    there = [v for v in results.variants if series.get(v.name)]
    plot = _plot([series[v.name] for v in there], axes, width, height)
    x = alt.X(
        "step:Q",
        title=axes.x,
        scale=alt.Scale(type="log", base=2, domain=list(plot.across), nice=False),
        axis=alt.Axis(values=list(axes.steps), format="~g", grid=False, labelOverlap=True),
    )
    kind: dict[str, Any] = {"type": "log"} if plot.logarithmic else {}
    y = alt.Y(
        "value:Q",
        title=axes.y,
        scale=alt.Scale(domain=list(plot.up), nice=False, **kind),
        axis=alt.Axis(tickCount=6, format=",.6~g"),
    )
    data = alt.InlineData(values=_rows(results, there, series))
    few = len(there) <= style.MANY
    do = style.interaction()
    calm = alt.condition(do.pick, alt.value(0.75 if few else 0.25), alt.value(0.05))
    colour = style.verdict_colour(results)
    lines = (
        alt.Chart(data)
        .mark_line(strokeWidth=1.5)
        .encode(x=x, y=y, color=colour, detail="name:N", opacity=calm)
    )
    pointed = (
        alt.Chart(data)
        .transform_filter(style.pointed_at())
        .mark_line(strokeWidth=3.5)
        .encode(x=x, y=y, color=colour, detail="name:N")
    )
    marks = (
        alt.Chart(data)
        .mark_point(filled=True)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=style.verdict_shape(results),
            opacity=alt.condition(do.pick, alt.value(1), alt.value(0.1)),
            size=alt.condition(do.point, alt.value(150), alt.value(70 if few else 35)),
            tooltip=style.tooltips(results),
        )
        .add_params(do.pick, do.point)
    )
    ends = alt.InlineData(values=_ends(results, there, series, plot, fine))
    leaders = (
        alt.Chart(ends)
        .mark_rule(style="leader")
        .encode(x=alt.X("step:Q"), x2="to:Q", y=alt.Y("value:Q"), y2="label_value:Q")
    )
    names = (
        alt.Chart(ends)
        .mark_text(style="name", align="left", baseline="middle", dx=3)
        .encode(x=alt.X("to:Q"), y=alt.Y("label_value:Q"), text="label:N")
    )
    layers = [lines, pointed, leaders, marks, names]
    return alt.LayerChart(layer=layers, width=plot.width, height=plot.height)


def _plot(found: Sequence[Mapping[float, float]], axes: Axes, width: int, height: int) -> _Plot:
    names = min(_NAME_PX, width // 3)
    low, last = axes.steps[0] * 0.9, axes.steps[-1]
    end = low * (last / low) ** (width / (width - names))
    values = [value for one in found for value in one.values()]
    least, most = min(values), max(values)
    if most > _SPAN * least:
        room = (most / least) ** 0.08
        return _Plot(width, height, names, (low, end), (least / room, most * room), True)
    return _Plot(width, height, names, (low, end), (0.0, 1.08 * most), False)


def _rows(results: Results, there: Sequence[VariantResult], series: Series) -> list[dict[str, Any]]:
    return [
        {**style.facts(results, variant), "step": step, "value": value}
        for variant in there
        for step, value in series[variant.name].items()
    ]


def _ends(
    results: Results, there: Sequence[VariantResult], series: Series, plot: _Plot, fine: str
) -> list[dict[str, Any]]:
    """Return the names at the lines' ends, as many as stand below each other."""
    room = plot.height // _GAP_PX
    room = room if len(there) <= room else room // 2
    sought = (results.recommended, results.baseline)
    sign = -1 if fine == "highest" else 1
    wanted = sorted(
        there,
        key=lambda v: (
            v.name not in sought,
            not v.on_frontier,
            sign * max(series[v.name].items())[1],
        ),
    )[:room]
    ends = {v.name: max(series[v.name].items()) for v in wanted}
    places = labels.spread([plot.y(v) for _, v in ends.values()], _GAP_PX, 6, plot.height - 6)
    low, end = plot.across
    to = low * (end / low) ** ((plot.width - plot.names + 18) / plot.width)
    return [
        {
            "label": text.shorten(text.plain(name), max(6, (plot.names - 24) * 10 // 64)),
            "step": step,
            "value": value,
            "to": to,
            "label_value": plot.value(place),
        }
        for (name, (step, value)), place in zip(ends.items(), places, strict=True)
    ]
