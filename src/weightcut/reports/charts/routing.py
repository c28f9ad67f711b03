"""Quality against budget for every routing policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weightcut.reports.charts.figure import WIDE, Figure

if TYPE_CHECKING:
    import altair as alt

_STYLES = {"random": [2, 3], "oracle": [6, 3]}


def cost_quality(result: Mapping[str, Any], width: int = 620, height: int = 380) -> alt.LayerChart:
    """Return one line a policy: mean quality by share of the budget, and the quality to keep."""
    import altair as alt

    rows = [
        {"policy": name, "budget": x, "quality": q}
        for name, found in result["policies"].items()
        if "curve" in found
        for x, q in zip(found["curve"]["budget"], found["curve"]["quality"], strict=True)
    ]
    best = sorted(
        (n for n, found in result["policies"].items() if "curve" in found),
        key=lambda n: -(result["policies"][n]["apgr"]["value"] or 0),
    )
    dashes = [_STYLES.get(name, [1, 0]) for name in best]
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=1.8)
        .encode(
            x=alt.X("budget:Q", title="budget (0: cheapest, 1: full)", axis=alt.Axis(format="%")),
            y=alt.Y("quality:Q", title="mean quality", scale=alt.Scale(zero=False)),
            color=alt.Color(
                "policy:N", title=None, sort=best, legend=alt.Legend(symbolStrokeWidth=2.5)
            ),
            strokeDash=alt.StrokeDash(
                "policy:N", sort=best, scale=alt.Scale(domain=best, range=dashes), legend=None
            ),
        )
    )
    kept = result["keep"] * result["qualities"][result["variants"][-1]]
    target = (
        alt.Chart(alt.InlineData(values=[{"quality": kept}]))
        .mark_rule(style="margin")
        .encode(y=alt.Y("quality:Q"))
    )
    return alt.LayerChart(layer=[lines, target], width=width, height=height)


def promises(rows: Sequence[Mapping[str, float]], keep: float, width: int = WIDE) -> Figure:
    """Return the cost that a router saves by the quality that it promises to keep.

    rows: `keep`, `saved` and `kept` (on calibration prompts), all shares. keep: the one marked.
    """
    import altair as alt

    title = "Cost saved by the promise"
    if not any(row["saved"] > 0 for row in rows):
        return Figure("promises", title, missing="Not drawn: at no share of quality to keep "
                      "does this router save any cost.")  # fmt: skip
    data = alt.InlineData(values=[dict(row) for row in rows])
    x = alt.X("keep:Q", title="quality to keep (share of the full model's)",
              axis=alt.Axis(format="%", grid=False), scale=alt.Scale(zero=False))  # fmt: skip
    y = alt.Y("saved:Q", title="cost saved", axis=alt.Axis(format="%", tickCount=5))
    tooltip = [
        alt.Tooltip("keep:Q", title="promised", format=".0%"),
        alt.Tooltip("saved:Q", title="cost saved", format=".1%"),
        alt.Tooltip("kept:Q", title="kept on calibration", format=".1%"),
    ]
    base = alt.Chart(data).encode(x=x, y=y)
    chosen = base.transform_filter(f"abs(datum.keep - {keep:.4f}) < 0.0001")
    layers = [
        base.mark_line(interpolate="step-before", strokeWidth=2, color="#0072b2"),
        base.mark_point(filled=True, size=36, color="#0072b2").encode(tooltip=tooltip),
        chosen.mark_point(filled=True, size=190, color="#d55e00", shape="diamond").encode(
            tooltip=tooltip
        ),
    ]
    chart = alt.LayerChart(layer=layers, width=width - 64, height=240)
    caption = "Measured on the calibration prompts. The diamond is the promise chosen above."
    return Figure("promises", title, caption, "Line chart of cost saved by quality to keep.", chart)
