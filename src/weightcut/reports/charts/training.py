"""Training: losses, speed and memory by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightcut.reports import text
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.charts.trends import COLOURS, MOST

if TYPE_CHECKING:
    import altair as alt

READINGS: Mapping[str, tuple[str, str, float]] = {
    "loss": ("Loss", "loss (nats/token)", 1.0),
    "tokens_per_s": ("Speed", "tokens/s", 1.0),
    "peak_rss_bytes": ("Memory", "peak memory (MB)", 1e-6),
    "learning_rate": ("Learning rate", "learning rate", 1.0),
}
"""Reading -> title, axis with its unit, factor."""
Curves = Mapping[str, Sequence[Mapping[str, float]]]


def training(curves: Curves, reading: str, width: int = WIDE, height: int = 260) -> Figure:
    """Return one line a training over its steps (name -> points with `step` and readings).

    reading: one of READINGS; with `loss` goes the loss on held-out text, dashed, with points.
    """
    title, axis, factor = READINGS[reading]
    key = f"training-{reading.replace('_', '-')}"
    kinds = {reading: "training", "held_out_loss": "held-out"} if reading == "loss" else {
        reading: "training"
    }  # fmt: skip
    shown = dict(list(curves.items())[:MOST])
    rows = [
        {"name": text.plain(name), "step": point["step"], "kind": kind, "value": factor * point[of]}
        for name, points in shown.items()
        for of, kind in kinds.items()
        for point in points
        if of in point
    ]
    if not rows:
        return Figure(key, title, missing=f"Not drawn: {title.lower()} was not recorded.")
    caption = (
        "Dashed, with diamonds: the loss on held-out text."
        if len({row["kind"] for row in rows}) > 1
        else ""
    )
    if len(curves) > len(shown):
        caption += f" The first {MOST} of {len(curves)} trainings are drawn."
    description = f"Line chart of {axis} by training step for {', '.join(map(text.plain, shown))}."
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    return Figure(
        key, title, caption.strip(), description, _chart(rows, names, axis, width - 64, height)
    )


def _chart(
    rows: list[dict[str, Any]], names: list[str], axis: str, width: int, height: int
) -> alt.LayerChart:
    import altair as alt

    data = alt.InlineData(values=rows)
    several = len(names) > 1
    legend = alt.Legend(orient="top", columns=max(1, width // 220), labelLimit=200, title=None)
    colour = alt.Color(
        "name:N",
        scale=alt.Scale(domain=names, range=COLOURS[1 : len(names) + 1] + COLOURS[:1]),
        legend=legend if several else None,
    )
    x = alt.X("step:Q", title="training step", axis=alt.Axis(grid=False, tickMinStep=1))
    y = alt.Y("value:Q", title=axis, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    tooltip = [
        alt.Tooltip("name:N", title="training"),
        alt.Tooltip("step:Q"),
        alt.Tooltip("kind:N", title="text"),
        alt.Tooltip("value:Q", title=axis, format=",.5~g"),
    ]
    base = alt.Chart(data).encode(x=x, y=y, color=colour, tooltip=tooltip)
    trained = base.transform_filter("datum.kind == 'training'")
    tested = base.transform_filter("datum.kind == 'held-out'")
    layers = [
        trained.mark_line(strokeWidth=1.6, opacity=0.85),
        trained.mark_point(filled=True, size=16, opacity=0.85),
        tested.mark_line(strokeWidth=1.6, strokeDash=[5, 3]),
        tested.mark_point(filled=True, size=80, shape="diamond"),
    ]
    return alt.LayerChart(layer=layers, width=width, height=height)
