"""Any two measures of the variants against each other, with intervals and the frontier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weightcut.records.results import Interval, Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.charts import labels, style
from weightcut.reports.charts.figure import WIDE, Figure

if TYPE_CHECKING:
    import altair as alt

_SPAN = 6  # ratio of the largest to the smallest value from which on an axis is logarithmic


class Measure(NamedTuple):
    """Something that variants are compared by. rises: whether more of it is better."""

    key: str
    name: str
    title: str
    rises: bool
    read: Callable[[VariantResult], Interval | None]


class Spot(NamedTuple):
    """A variant in the plane of two measures."""

    variant: VariantResult
    x: Interval
    y: Interval


def axes(results: Results) -> dict[str, Measure]:
    """Return the measures of which some variant has a figure, by key; the primary one first."""
    found = [*_qualities(results), *_costs(results)]
    return {one.key: one for one in found if any(one.read(variant) for variant in results.variants)}


def _qualities(results: Results) -> list[Measure]:
    first = measures.primary(results)
    found = []
    if first is not None:
        kept = f"{first.name} kept"
        found.append(
            Measure("kept", kept, f"{kept} (share of the baseline)", True,
                    measures.primary_retention)
        )  # fmt: skip
    pairs = [(first.task, first.metric)] if first else []
    for task in measures.task_names(results):
        pairs += [(task, metric) for metric in _shown(results, task)]
    for task, metric in dict.fromkeys(pairs):
        name = f"{text.metric_name(metric)} ({text.plain(task)})"
        rises = metric not in measures.LOWER_IS_BETTER
        found.append(Measure(f"{task}/{metric}", name, name, rises, _reader(task, metric)))
    return found


def _shown(results: Results, task: str) -> list[str]:
    known = measures.metric_names(results, task)
    wanted = ("pass@1", "codebleu", "bleu", "exact_match", "parses", "degenerate", "perplexity",
              "bits_per_byte", "kl", "top1_agreement")  # fmt: skip
    return [metric for metric in wanted if metric in known]


def _reader(task: str, metric: str) -> Callable[[VariantResult], Interval | None]:
    return lambda variant: measures.measure(variant, task, metric)


def _costs(results: Results) -> list[Measure]:
    money = text.plain(results.prices.get("currency") or "currency of the price file")
    rate = max(measures.concurrencies(results), default=0)
    joules = measures.most_at_once(results, "joules_per_answer")
    price = measures.most_at_once(results, "money_per_1000_answers")
    return [
        Measure("latency", "latency", "median latency of an answer, batch 1 (ms)", False,
                lambda v: measures.as_interval(measures.latency(v))),
        Measure("throughput", "throughput", f"throughput, {rate} at once (tokens/s)", True,
                lambda v: measures.as_interval(measures.throughput(v).get(rate))),
        Measure("memory", "memory", "peak memory of the process (MB)", False,
                lambda v: _million(measures.memory(v))),
        Measure("size", "size on disk", "size on disk (MB)", False,
                lambda v: _million(v.artifact_bytes)),
        Measure("energy", "energy",
                f"energy of an answer, {joules} at once ({measures.joules(results)})", False,
                lambda v: measures.as_interval(measures.cost_at(v, joules, "joules_per_answer"))),
        Measure("money", "cost", f"1,000 answers, {price} at once ({money})", False,
                lambda v: measures.as_interval(
                    measures.cost_at(v, price, "money_per_1000_answers"))),
    ]  # fmt: skip


def _million(count: float | None) -> Interval | None:
    return None if count is None else measures.as_interval(count / 1e6)


def spots(results: Results, x: Measure, y: Measure) -> list[Spot]:
    """Return the variants of which both measures are known."""
    pairs = ((variant, x.read(variant), y.read(variant)) for variant in results.variants)
    return [Spot(variant, a, b) for variant, a, b in pairs if a is not None and b is not None]


def best(found: Sequence[Spot], x: Measure, y: Measure) -> list[Spot]:
    """Return the spots that no other beats in both measures, by x; vetoed variants left out."""
    standing = [s for s in found if not any(guard.worse for guard in s.variant.guards)]
    across, up = (1 if x.rises else -1), (1 if y.rises else -1)
    chosen: list[Spot] = []
    for spot in sorted(standing, key=lambda s: (-across * _of(s.x), -up * _of(s.y))):
        if not chosen or up * _of(spot.y) > up * _of(chosen[-1].y):
            chosen.append(spot)
    return sorted(chosen, key=lambda s: _of(s.x))


def _of(value: Interval) -> float:
    return value.value or 0.0


def tradeoff(results: Results, x: Measure, y: Measure, width: int = WIDE) -> Figure:
    """Return the chart of one measure against another."""
    key, title = f"tradeoff-{x.key}-{y.key}", f"{y.name} against {x.name}"
    found = spots(results, x, y)
    if not found:
        return Figure(key, title, missing="Not drawn: no variant has both figures yet.")
    front = best(found, x, y)
    names = ", ".join(text.plain(spot.variant.name) for spot in front) or "none"
    side, end = ("right" if x.rises else "left"), ("up" if y.rises else "down")
    caption = f"Towards {end} and {side} is better. Bars are confidence intervals."
    if len(front) > 1:
        caption += " The dashed line joins the best trade-offs, vetoed variants left out."
    without = len(results.variants) - len(found)
    if without:
        caption += f" {without} of {len(results.variants)} variants are missing: no figure yet."
    description = f"Scatter chart of {y.title} against {x.title}. Best trade-offs: {names}."
    height = 380 if width >= WIDE else 320
    chart = _chart(results, found, front, (x, y), (width - 64, height))
    return Figure(key, title, caption, description, chart)


class _Scale(NamedTuple):
    """The range of an axis in pixels and values."""

    pixels: int
    low: float
    high: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Return a value's share of the axis in pixels."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.pixels * share

    def options(self) -> dict[str, Any]:
        """Return what Vega-Lite is told of it."""
        kind = {"type": "log"} if self.logarithmic else {"zero": False}
        return {"domain": [self.low, self.high], "nice": False, **kind}


def _scale(values: Sequence[Interval], pixels: int) -> _Scale:
    ends = [e for v in values for e in (v.value, v.low, v.high) if e is not None]
    least, most = min(ends), max(ends)
    if least > 0 and most > _SPAN * least:
        room = (most / least) ** 0.12
        return _Scale(pixels, least / room, most * room, True)
    room = (most - least) * 0.12 or abs(most) * 0.2 or 0.5
    return _Scale(pixels, max(0.0, least - room) if least >= 0 else least - room, most + room,
                  False)  # fmt: skip


def _chart(
    results: Results,
    found: Sequence[Spot],
    front: Sequence[Spot],
    pair: tuple[Measure, Measure],
    size: tuple[int, int],
) -> alt.LayerChart:
    import altair as alt

    across, up = _scale([s.x for s in found], size[0]), _scale([s.y for s in found], size[1])
    x = alt.X("x:Q", title=pair[0].title, scale=alt.Scale(**across.options()),
              axis=alt.Axis(tickCount=max(3, size[0] // 80), grid=False))  # fmt: skip
    better = "higher" if pair[1].rises else "lower"
    y = alt.Y("y:Q", title=f"{pair[1].title}, {better} is better",
              scale=alt.Scale(**up.options()), axis=alt.Axis(tickCount=6))  # fmt: skip
    few = len(found) <= style.MANY
    do = style.interaction()
    data = alt.InlineData(values=[_row(results, spot) for spot in found])
    colour = style.verdict_colour(results)
    calm = alt.condition(do.pick, alt.value(0.5 if few else 0.12), alt.value(0.04))
    bars = [
        alt.Chart(data)
        .transform_filter(f"isValid(datum.{a}_low) && isValid(datum.{a}_high)")
        .mark_rule(strokeWidth=1.5)
        .encode(color=colour, opacity=calm, **ends)
        for a, ends in (
            ("y", {"x": x, "y": alt.Y("y_low:Q"), "y2": "y_high:Q"}),
            ("x", {"x": alt.X("x_low:Q"), "x2": "x_high:Q", "y": y}),
        )
    ]
    steps = alt.InlineData(values=[{"x": _of(s.x), "y": _of(s.y)} for s in front])
    # What can be had at an x between two of the best is the y of the one that is good enough in x.
    turn: Any = "step-before" if pair[0].rises else "step-after"
    line = alt.Chart(steps).mark_line(interpolate=turn, style="frontier").encode(x=x, y=y)
    marks = (
        alt.Chart(data)
        .mark_point(filled=True)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=style.verdict_shape(results),
            opacity=alt.condition(do.pick, alt.value(1), alt.value(0.1)),
            size=alt.condition(do.point, alt.value(190), alt.value(100 if few else 55)),
            tooltip=style.tooltips(results),
        )
        .add_params(*do)
    )
    shown = f"datum.shown || ({style.pointed_at()})"
    names = alt.Chart(alt.InlineData(values=_names(results, found, front, across, up))).encode(
        x=x, y=y, text="label:N", opacity=alt.condition(shown, alt.value(1), alt.value(0))
    )
    spot: dict[str, Any] = {
        "baseline": "middle",
        "dx": alt.ExprRef("datum.dx"),
        "dy": alt.ExprRef("datum.dy"),
        "align": alt.ExprRef("datum.align"),
    }
    layers = [*bars, line, marks, *(names.mark_text(style=s, **spot) for s in ("halo", "name"))]
    return alt.LayerChart(layer=layers, width=size[0], height=size[1])


def _row(results: Results, spot: Spot) -> dict[str, Any]:
    ends = {
        f"{axis}_{end}": getattr(value, end)
        for axis, value in (("x", spot.x), ("y", spot.y))
        for end in ("low", "high")
    }
    return {**style.facts(results, spot.variant), "x": _of(spot.x), "y": _of(spot.y), **ends}


def _names(
    results: Results, found: Sequence[Spot], front: Sequence[Spot], across: _Scale, up: _Scale
) -> list[dict[str, Any]]:
    """Return where each name stands; among many variants only those looked for are shown."""
    sought = [results.recommended, results.baseline]
    chosen = {spot.variant.name for spot in front}
    ranks = [
        sought.index(s.variant.name) if s.variant.name in sought
        else 2 if s.variant.name in chosen else 3
        for s in found
    ]  # fmt: skip
    anchors = [
        labels.Anchor(across.place(_of(s.x)), up.pixels - up.place(_of(s.y)),
                      text.plain(s.variant.name), rank)
        for s, rank in zip(found, ranks, strict=True)
    ]  # fmt: skip
    lines = [
        labels.Box(a.x - 1.5, up.pixels - up.place(s.y.high), a.x + 1.5,
                   up.pixels - up.place(s.y.low))
        for s, a in zip(found, anchors, strict=True)
        if s.y.low is not None and s.y.high is not None
    ]  # fmt: skip
    placed = labels.place(anchors, across.pixels, up.pixels, lines)
    few = len(found) <= style.MANY
    return [
        {
            "name": anchor.name,
            "x": _of(spot.x),
            "y": _of(spot.y),
            "label": label.text,
            "dx": label.dx,
            "dy": label.dy,
            "align": label.align,
            "shown": label.shown and (few or rank < 3),
        }
        for spot, anchor, label, rank in zip(found, anchors, placed, ranks, strict=True)
    ]
