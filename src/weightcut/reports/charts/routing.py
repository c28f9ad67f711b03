"""Quality against budget for every routing policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
