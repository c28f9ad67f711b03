"""Quality against cost, and the frontier between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from weightcut.records.results import Interval, Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.charts import labels, style
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.measures import Primary

if TYPE_CHECKING:
    import altair as alt

Axis = Literal["latency", "memory", "size", "energy", "money"]
AXES: tuple[Axis, ...] = ("latency", "memory", "size")
COST_AXES: tuple[Axis, ...] = ("energy", "money")
_TITLES: dict[Axis, str] = {
    "latency": "median latency of an answer, batch 1 (ms)",
    "memory": "peak memory of the process (MB)",
    "size": "size on disk (MB)",
    "energy": "energy of an answer",
    "money": "price of 1,000 answers",
}
_FIELDS: dict[Axis, str] = {"energy": "joules_per_answer", "money": "money_per_1000_answers"}
_SPAN = 4  # ratio of the dearest to the cheapest from which on the cost axis is logarithmic


class Point(NamedTuple):
    """A variant in a plane of cost (lower is better) and quality (higher is better)."""

    variant: VariantResult
    cost: float
    quality: Interval

    @property
    def height(self) -> float:
        """The quality's value, known to be a number."""
        return self.quality.value or 0.0


class Frame(NamedTuple):
    """The plot's size in pixels and the range of its axes."""

    width: int
    height: int
    costs: tuple[float, float]
    qualities: tuple[float, float]
    logarithmic: bool

    def x(self, cost: float) -> float:
        """Return a cost's place in pixels."""
        low, high = self.costs
        if self.logarithmic:
            return self.width * math.log(cost / low) / math.log(high / low)
        return self.width * (cost - low) / (high - low)

    def y(self, quality: float) -> float:
        """Return a quality's place in pixels, downwards."""
        low, high = self.qualities
        return self.height * (high - quality) / (high - low)


def points(results: Results, axis: Axis) -> list[Point]:
    """Return the variants of which both the primary metric and the cost are known.

    Costs are in milliseconds, megabytes (10^6 bytes), joules or the price file's currency.
    """
    first = measures.primary(results)
    if first is None:
        return []
    count = _at_once(results, axis)
    pairs = (
        (variant, _cost(variant, axis, count), measures.quality(variant, first))
        for variant in results.variants
    )
    return [
        Point(variant, cost, quality)
        for variant, cost, quality in pairs
        if cost is not None and cost > 0 and quality is not None
    ]


def _at_once(results: Results, axis: Axis) -> int:
    """Return how many sequences at once a cost is of: one number for the whole study."""
    return measures.most_at_once(results, _FIELDS[axis]) if axis in COST_AXES else 1


def _cost(variant: VariantResult, axis: Axis, count: int) -> float | None:
    if axis == "latency":
        return measures.latency(variant)
    if axis in COST_AXES:
        return measures.cost_at(variant, count, _FIELDS[axis])
    size = measures.memory(variant) if axis == "memory" else variant.artifact_bytes
    return None if size is None else size / 1e6


def frontier(found: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in this plane, from cheap to dear.

    Variants that a guard vetoed are left out, as in the analysis: their quality figure is what the
    guard has shown to be untrustworthy.
    """
    best: list[Point] = []
    standing = [p for p in found if not any(guard.worse for guard in p.variant.guards)]
    for point in sorted(standing, key=lambda p: (p.cost, -p.height)):
        if not best or point.height > best[-1].height:
            best.append(point)
    return best


def pareto(results: Results, axis: Axis, width: int = WIDE, height: int = 340) -> Figure:
    """Return the primary metric, with its interval, against one cost, and the frontier."""
    first = measures.primary(results)
    found = points(results, axis)
    key, title = f"pareto-{axis}", f"{_quality_name(first)} against {axis}"
    if first is None or not found:
        lack = (
            f"no variant has a figure of {axis}" if first else "no variant has the primary metric"
        )
        return Figure(key, title, missing=f"Not drawn: {lack} yet.")
    if axis in COST_AXES:
        title += f", {_at_once(results, axis)} at once"
    best = frontier(found)
    names = ", ".join(text.plain(point.variant.name) for point in best) or "none"
    many = f"{len(found)} variants" if len(found) > 1 else "1 variant"
    description = (
        f"Scatter chart of {_quality_name(first)} against {_title(results, axis)} for {many}. "
        f"Best trade-offs, from cheap to dear: {names}."
    )
    caption = "Up and to the left is better. Bars are confidence intervals."
    if len(best) > 1:
        caption += " The dashed line joins the best trade-offs, vetoed variants left out."
    without = len(results.variants) - len(found)
    if without:
        caption += f" {without} of {len(results.variants)} variants are missing: no figure yet."
    chart = _chart(results, found, best, axis, _frame(found, width - 64, height))
    return Figure(key, title, caption, description, chart)


def _title(results: Results, axis: Axis) -> str:
    currency = text.plain(results.prices.get("currency") or "currency of the price file")
    if axis not in COST_AXES:
        return _TITLES[axis]
    unit = currency if axis == "money" else measures.joules(results)
    return f"{_TITLES[axis]}, {_at_once(results, axis)} at once ({unit})"


def _quality_name(first: Primary | None) -> str:
    if first is None:
        return "Quality"
    return f"{first.name} kept" if first.falls else first.name


def _frame(found: Sequence[Point], width: int, height: int) -> Frame:
    ends = [v for p in found for v in (p.height, p.quality.low, p.quality.high) if v is not None]
    costs = [point.cost for point in found]
    span = max(costs) / min(costs)
    logarithmic = span > _SPAN
    if logarithmic:
        cost_range = (min(costs) / span**0.12, max(costs) * span**0.12)
    else:
        room = (max(costs) - min(costs)) * 0.14 or max(costs) * 0.2
        cost_range = (max(0.0, min(costs) - room), max(costs) + room)
    return Frame(width, height, cost_range, _padded(min(ends), max(ends)), logarithmic)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 0.05)
    return low - room, high + room


def _rows(results: Results, found: Sequence[Point]) -> list[dict[str, Any]]:
    return [
        {
            **style.facts(results, point.variant),
            "cost": point.cost,
            "quality": point.height,
            "low": point.quality.low,
            "high": point.quality.high,
        }
        for point in found
    ]


def _names(results: Results, found: Sequence[Point], frame: Frame) -> list[dict[str, Any]]:
    """Return where each name stands; among many variants only those looked for are shown."""
    best = frontier(found)
    chosen = {point.variant.name for point in best}
    ranks = [_rank(results, point.variant, chosen) for point in found]
    few = len(found) <= style.MANY
    anchors = [
        labels.Anchor(
            frame.x(point.cost), frame.y(point.height), text.plain(point.variant.name), rank
        )
        for point, rank in zip(found, ranks, strict=True)
    ]
    placed = labels.place(
        anchors, frame.width, frame.height, [*_bars(found, frame), *_steps(best, frame)]
    )
    return [
        {
            "name": anchor.name,
            "cost": point.cost,
            "quality": point.height,
            "label": label.text,
            "dx": label.dx,
            "dy": label.dy,
            "align": label.align,
            "shown": label.shown and (few or anchor.rank < _OTHERS),
        }
        for point, anchor, label in zip(found, anchors, placed, strict=True)
    ]


_OTHERS = 3


def _rank(results: Results, variant: VariantResult, chosen: set[str]) -> float:
    """Return how early a variant's name is placed: those that readers look for come first."""
    if variant.name == results.recommended:
        return 0
    if variant.name == results.baseline:
        return 1
    return 2 if variant.name in chosen else _OTHERS


def _bars(found: Sequence[Point], frame: Frame) -> list[labels.Box]:
    return [
        labels.Box(x - 1.5, frame.y(p.quality.high), x + 1.5, frame.y(p.quality.low))
        for p in found
        if p.quality.low is not None and p.quality.high is not None
        for x in [frame.x(p.cost)]
    ]


def _steps(best: Sequence[Point], frame: Frame) -> list[labels.Box]:
    found = []
    for one, two in pairwise(best):
        left, right = frame.x(one.cost), frame.x(two.cost)
        low, high = frame.y(one.height), frame.y(two.height)
        found.append(labels.Box(left, low - 1, right, low + 1))
        found.append(labels.Box(right - 1, high, right + 1, low))
    return found


def _chart(
    results: Results, found: Sequence[Point], best: Sequence[Point], axis: Axis, frame: Frame
) -> alt.LayerChart:
    import altair as alt

    first = measures.primary(results)
    data = alt.InlineData(values=_rows(results, found))
    kind: dict[str, Any] = {"type": "log"} if frame.logarithmic else {"zero": False}
    x = alt.X(
        "cost:Q",
        title=_title(results, axis),
        scale=alt.Scale(domain=list(frame.costs), nice=False, **kind),
        axis=alt.Axis(tickCount=max(3, frame.width // 80), grid=False),
    )
    y = alt.Y(
        "quality:Q",
        title=f"{_quality_name(first)}, higher is better",
        scale=alt.Scale(domain=list(frame.qualities), nice=False, zero=False),
        axis=alt.Axis(tickCount=6),
    )
    few = len(found) <= style.MANY
    do = style.interaction()
    bars = (
        alt.Chart(data)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=1.5)
        .encode(
            x=x,
            y=alt.Y("low:Q"),
            y2="high:Q",
            color=style.verdict_colour(results),
            opacity=alt.condition(do.pick, alt.value(0.5 if few else 0.12), alt.value(0.04)),
        )
    )
    line = (
        alt.Chart(alt.InlineData(values=[{"cost": p.cost, "quality": p.height} for p in best]))
        .mark_line(interpolate="step-after", style="frontier")
        .encode(x=x, y=y)
    )
    marks = (
        alt.Chart(data)
        .mark_point(filled=True)
        .encode(
            x=x,
            y=y,
            color=style.verdict_colour(results),
            shape=style.verdict_shape(results),
            opacity=alt.condition(do.pick, alt.value(1), alt.value(0.1)),
            size=alt.condition(do.point, alt.value(190), alt.value(100 if few else 55)),
            tooltip=style.tooltips(results),
        )
        .add_params(*do)
    )
    shown = f"datum.shown || ({style.pointed_at()})"
    spots = alt.InlineData(values=_names(results, found, frame))
    names = alt.Chart(spots).encode(
        x=x, y=y, text="label:N", opacity=alt.condition(shown, alt.value(1), alt.value(0))
    )
    spot: dict[str, Any] = {
        "baseline": "middle",
        "dx": alt.ExprRef("datum.dx"),
        "dy": alt.ExprRef("datum.dy"),
        "align": alt.ExprRef("datum.align"),
    }
    layers = [bars, line, marks, *(names.mark_text(style=s, **spot) for s in ("halo", "name"))]
    return alt.LayerChart(layer=layers, width=frame.width, height=frame.height)
