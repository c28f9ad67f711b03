"""Tokens per second by number of concurrent sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightcut.records.results import Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.charts import labels, style
from weightcut.reports.charts.figure import WIDE, Figure

if TYPE_CHECKING:
    import altair as alt

_NAME_PX = 150
_GAP_PX = 14


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
    return Figure(key, title, caption, description, _chart(results, counts, width - 64, height))


def _chart(results: Results, counts: list[int], width: int, height: int) -> alt.LayerChart:
    import altair as alt

    name_px = min(_NAME_PX, width // 3)
    low, last = counts[0] * 0.9, counts[-1]
    end = low * (last / low) ** (width / (width - name_px))
    there = [v for v in results.variants if measures.throughput(v)]
    top = 1.08 * max(max(measures.throughput(v).values()) for v in there)
    x = alt.X(
        "sequences:Q",
        title="concurrent sequences",
        scale=alt.Scale(type="log", base=2, domain=[low, end], nice=False),
        axis=alt.Axis(values=counts, format="d", grid=False),
    )
    y = alt.Y(
        "rate:Q",
        title="throughput (tokens/s)",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(tickCount=6),
    )
    data = alt.InlineData(values=_rows(results, there))
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
    ends = alt.InlineData(values=_ends(results, there, (low, end), top, width, height, name_px))
    leaders = (
        alt.Chart(ends)
        .mark_rule(style="leader")
        .encode(x=alt.X("sequences:Q"), x2="to:Q", y=alt.Y("rate:Q"), y2="label_rate:Q")
    )
    names = (
        alt.Chart(ends)
        .mark_text(style="name", align="left", baseline="middle", dx=3)
        .encode(x=alt.X("to:Q"), y=alt.Y("label_rate:Q"), text="label:N")
    )
    return alt.LayerChart(layer=[lines, pointed, leaders, marks, names], width=width, height=height)


def _rows(results: Results, there: list[VariantResult]) -> list[dict[str, Any]]:
    return [
        {**style.facts(results, variant), "sequences": count, "rate": rate}
        for variant in there
        for count, rate in measures.throughput(variant).items()
    ]


def _ends(
    results: Results,
    there: list[VariantResult],
    span: tuple[float, float],
    top: float,
    width: int,
    height: int,
    name_px: int,
) -> list[dict[str, Any]]:
    """Return the names at the lines' ends, as many as stand below each other."""
    room = height // _GAP_PX
    room = room if len(there) <= room else room // 2
    sought = (results.recommended, results.baseline)
    wanted = sorted(
        there,
        key=lambda v: (
            v.name not in sought,
            not v.on_frontier,
            -max(measures.throughput(v).values()),
        ),
    )[:room]
    ends = {v.name: max(measures.throughput(v).items()) for v in wanted}
    places = labels.spread(
        [height * (1 - rate / top) for _, rate in ends.values()], _GAP_PX, 6, height - 6
    )
    low, end = span
    to = low * (end / low) ** ((width - name_px + 18) / width)
    return [
        {
            "label": text.shorten(text.plain(name), max(6, (name_px - 24) * 10 // 64)),
            "sequences": count,
            "rate": rate,
            "to": to,
            "label_rate": top * (1 - place / height),
        }
        for (name, (count, rate)), place in zip(ends.items(), places, strict=True)
    ]
