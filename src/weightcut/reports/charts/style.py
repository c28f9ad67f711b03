"""What all charts share: the look of verdicts, tooltips, pointing and picking, the theme.

Verdicts differ by colour and by shape; the colours are those of Okabe and Ito, "Color Universal
Design" (2008), which colour-blind readers tell apart, lightened for dark pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from weightcut.records.results import Results, VariantResult, Verdict
from weightcut.reports import measures, text

if TYPE_CHECKING:
    import altair as alt

MANY = 40  # variants from which on marks are drawn smaller and fainter
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_SHAPES = {
    "baseline": "square",
    "retained": "circle",
    "undecided": "diamond",
    "lost": "triangle-down",
    "unmeasured": "cross",
}
_LIGHT = {
    "baseline": "#1b1f24",
    "retained": "#009e73",
    "undecided": "#0072b2",
    "lost": "#d55e00",
    "unmeasured": "#767d86",
}
_DARK = {
    "baseline": "#f0f2f4",
    "retained": "#1fb88c",
    "undecided": "#56b4e9",
    "lost": "#ee7733",
    "unmeasured": "#949ba5",
}
_LIGHT_PAGE = ("#1b1f24", "#59616b", "#e6e8eb", "#ffffff")  # ink, soft ink, grid, ground
_DARK_PAGE = ("#e6e9ed", "#a7afb9", "#2b3138", "#15181c")


class Interaction(NamedTuple):
    """What a reader can do: pick verdicts in the legend, point at a variant, zoom and pan."""

    pick: alt.Parameter
    point: alt.Parameter
    zoom: alt.Parameter


def interaction() -> Interaction:
    """Return fresh parameters; zooming needs Ctrl with the wheel, so that a page still scrolls."""
    import altair as alt

    return Interaction(
        alt.selection_point(name="pick", fields=["verdict"], bind="legend"),
        alt.selection_point(
            name="hover", fields=["name"], on="pointerover", clear="pointerout", empty=False
        ),
        alt.selection_interval(
            name="zoom", bind="scales", zoom="wheel![event.ctrlKey || event.metaKey]"
        ),
    )


def pointed_at() -> str:
    """Return the Vega expression that is true for the rows of the variant pointed at."""
    return "isValid(hover.name) && indexof(hover.name, datum.name) >= 0"


def verdict_colour(results: Results) -> alt.Color:
    """Return verdict as colour."""
    import altair as alt

    return alt.Color("verdict:N", title=None, **_verdicts(results, _LIGHT))


def verdict_shape(results: Results) -> alt.Shape:
    """Return verdict as shape; its legend merges with that of the colour."""
    import altair as alt

    return alt.Shape("verdict:N", title=None, **_verdicts(results, _SHAPES))


def _verdicts(results: Results, values: dict[str, str]) -> dict[str, Any]:
    import altair as alt

    there = {variant.verdict for variant in results.variants}
    names: list[str] = [verdict for verdict in _VERDICTS if verdict in there]
    return {
        "scale": alt.Scale(domain=names, range=[values[name] for name in names]),
        "legend": alt.Legend(orient="top", values=names, symbolOpacity=1),
    }


def recolour(spec: Any, *, dark: bool) -> Any:
    """Return a chart's plain data with the verdict colours of the other theme."""
    table = dict(zip(_LIGHT.values(), _DARK.values(), strict=True))
    if not dark:
        table = {new: old for old, new in table.items()}
    if isinstance(spec, dict):
        return {key: recolour(value, dark=dark) for key, value in spec.items()}
    if isinstance(spec, list):
        return [recolour(value, dark=dark) for value in spec]
    return table.get(spec, spec) if isinstance(spec, str) else spec


def palettes() -> dict[str, list[str]]:
    """Return the verdict colours of the light and of the dark look, in the same order."""
    return {"light": list(_LIGHT.values()), "dark": list(_DARK.values())}


def facts(results: Results, variant: VariantResult) -> dict[str, str]:
    """Return the fields that every chart's rows carry, all figures as text for the tooltip."""
    first = measures.primary(results)
    other = variant.against_baseline
    found = {
        "name": text.plain(variant.name),
        "verdict": variant.verdict,
        "engine": text.plain(variant.engine),
        "recipe": text.shorten(text.plain(measures.recipe(variant)), 90),
        "kept": text.interval(measures.primary_retention(variant)),
        "latency": text.milliseconds(measures.latency(variant)),
        "speedup": text.times(other.latency_speedup if other else None),
        "rates": _rates(variant),
        "memory": text.size(measures.memory(variant)),
        "disk": text.size(variant.artifact_bytes),
        "target": text.yes(variant.meets_target),
        "best": text.yes(variant.on_frontier),
    }
    if first:
        found["primary"] = text.interval(measures.measure(variant, first.task, first.metric))
        passed = measures.measure(variant, first.task, "pass@1")
        if passed is not None and first.metric != "pass@1":
            found["passed"] = text.interval(passed)
    return found


def _rates(variant: VariantResult) -> str:
    found = measures.throughput(variant)
    return ", ".join(f"{text.number(rate)} at {n}" for n, rate in found.items()) or text.MISSING


def tooltips(results: Results) -> list[alt.Tooltip]:
    """Return the tooltip that shows all of a variant's figures."""
    import altair as alt

    first = measures.primary(results)
    passed = first is not None and first.metric != "pass@1"
    titles = {
        "name": "variant",
        "verdict": "verdict",
        "engine": "engine",
        "recipe": "recipe",
        **({"primary": first.name} if first else {}),
        **({"passed": "pass@1"} if passed else {}),
        "kept": f"{first.name if first else 'quality'} kept",
        "latency": "median latency",
        "speedup": "speed-up",
        "rates": "tokens/s, sequences",
        "memory": "peak memory",
        "disk": "size on disk",
        "target": "target met",
        "best": "on the frontier",
    }
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def theme(*, dark: bool = False) -> dict[str, Any]:
    """Return the Vega-Lite config that gives charts the look of the reports."""
    ink, soft, grid, card = _DARK_PAGE if dark else _LIGHT_PAGE
    return {
        "background": card,
        "font": FONT,
        "padding": 2,
        "view": {"stroke": None},
        "axis": {
            "domainColor": soft,
            "gridColor": grid,
            "labelColor": soft,
            "labelFontSize": 11,
            "labelLimit": 170,
            "tickColor": soft,
            "titleColor": ink,
            "titleFontSize": 12,
            "titleFontWeight": 600,
            "titlePadding": 8,
        },
        "legend": {
            "labelColor": ink,
            "labelFontSize": 12,
            "symbolSize": 90,
            "symbolStrokeWidth": 0,
        },
        "style": {
            "name": {"color": ink, "fontSize": 11},
            "halo": {"color": card, "stroke": card, "strokeWidth": 3, "fontSize": 11},
            "frontier": {"color": soft, "strokeWidth": 1.5, "strokeDash": [5, 3]},
            "margin": {"color": ink, "strokeWidth": 1.25, "strokeDash": [4, 3]},
            "unity": {"color": soft, "strokeWidth": 1},
            "leader": {"color": soft, "strokeWidth": 0.75, "strokeOpacity": 0.7},
            "note": {"color": soft, "fontSize": 11},
        },
    }
