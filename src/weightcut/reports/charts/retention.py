"""What each variant keeps of the baseline's quality, with the margin (a forest plot)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightcut.records.results import Interval, Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.charts import style
from weightcut.reports.charts.figure import WIDE, Figure

if TYPE_CHECKING:
    import altair as alt

_FIGURES_PX = 120


def retention(results: Results, task: str, metric: str, width: int = WIDE) -> Figure:
    """Return the retention of a metric per variant with its interval, best first.

    The margin line is drawn for the primary metric alone, since it is that one's margin.
    """
    name = text.metric_name(metric)
    key = "-".join(filter(None, ("retention", task, metric.replace("@", "-"))))
    title = f"{name} kept against the baseline" + (f" ({text.plain(task)})" if task else "")
    kept = [(v, measures.retention(v, task, metric)) for v in results.variants]
    found = [(v, r) for v, r in kept if r is not None and v.name != results.baseline]
    if not found:
        return Figure(key, title, missing=f"Not drawn: no variant has a retention of {name} yet.")
    found.sort(key=lambda pair: -(pair[1].value or 0))
    first = measures.primary(results)
    margin = first.share if first and (first.task, first.metric) == (task, metric) else None
    above = [v for v, r in found if margin is not None and (r.low or 0) > margin]
    confidence = text.finite(results.keep.get("confidence")) or 0.95
    description = (
        f"Forest plot of the share of the baseline's {name} that {len(found)} variants keep."
    )
    caption = (
        f"1 is the baseline; bars are {confidence:.0%} confidence intervals, paired by sample."
    )
    if margin is not None:
        says = ", ".join(f"{text.plain(v.name)} ({v.verdict})" for v in above) or "none"
        description += f" Whole interval above the margin of {margin:g}: {says}."
        caption += f" The dashed line is the margin, {margin:.0%} of the baseline."
    chart = _chart(results, found, margin, name, width)
    return Figure(key, title, caption, description, chart)


def _chart(
    results: Results,
    found: list[tuple[VariantResult, Interval]],
    margin: float | None,
    name: str,
    width: int,
) -> alt.LayerChart:
    import altair as alt

    wide = width >= WIDE
    longest = max(text.columns_wide(text.plain(variant.name)) for variant, _ in found)
    names_px = min(170 if wide else 96, max(40, 6.4 * longest))
    plot = round(width - names_px - 24 - (_FIGURES_PX if wide else 0))
    rows = [_row(results, *pair, rank) for rank, pair in enumerate(found)]
    data = alt.InlineData(values=rows)
    ends = [e for _, r in found for e in (r.value, r.low, r.high) if e is not None]
    ends += [1.0] if margin is None else [1.0, margin]
    room = 0.05 * (max(ends) - min(ends)) or 0.05
    x = alt.X(
        "value:Q",
        title=f"{name} kept (share of the baseline)",
        scale=alt.Scale(domain=[min(ends) - room, max(ends) + room], nice=False, zero=False),
        axis=alt.Axis(tickCount=5),
    )
    order = alt.EncodingSortField("rank", op="min")
    y = alt.Y(
        "name:N", title=None, sort=order, axis=alt.Axis(labelLimit=1.25 * names_px, ticks=False)
    )
    colour = style.verdict_colour(results)
    do = style.interaction()
    lit = alt.condition(do.pick, alt.value(1), alt.value(0.12))
    bars = (
        alt.Chart(data)
        .transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=colour, opacity=lit)
    )
    marks = (
        alt.Chart(data)
        .mark_point(filled=True)
        .encode(
            x=x,
            y=y,
            color=colour,
            shape=style.verdict_shape(results),
            opacity=lit,
            size=alt.condition(do.point, alt.value(170), alt.value(90)),
            tooltip=style.tooltips(results),
        )
        .add_params(do.pick, do.point)
    )
    lines = [
        alt.Chart(alt.InlineData(values=[{"at": 1.0}])).mark_rule(style="unity").encode(x="at:Q")
    ]
    if margin is not None:
        line = alt.Chart(alt.InlineData(values=[{"at": margin}]))
        lines.append(line.mark_rule(style="margin").encode(x="at:Q"))
    layers = [*lines, bars, marks]
    if wide:
        figures = alt.Chart(data).mark_text(style="note", align="left", baseline="middle")
        layers.append(figures.encode(x=alt.value(plot + 8), y=y, text="says:N"))
    step = 26 if len(found) <= style.MANY else 16
    return alt.LayerChart(layer=layers, width=plot, height=alt.Step(step))


def _row(results: Results, variant: VariantResult, kept: Interval, rank: int) -> dict[str, Any]:
    return {
        **style.facts(results, variant),
        "rank": rank,
        "value": kept.value,
        "low": kept.low,
        "high": kept.high,
        "says": _short(kept),
    }


def _short(kept: Interval) -> str:
    if kept.low is None or kept.high is None or kept.value is None:
        return text.score(kept.value)
    return f"{kept.value:.2f} [{kept.low:.2f}, {kept.high:.2f}]"
