"""`routing.md` and `routing.html`: what `weightcut router evaluate` found, with its charts."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.files import write_whole

HEADINGS = (
    "policy", "APGR", "CPT 50%", "CPT 80%", "CPT 95%", "AIQ", "saved at best", "saved", "kept",
    "held",
)  # fmt: skip
"""Short words, so that a terminal of 80 columns shows every figure whole."""
_NOTE = (
    "APGR: mean share of the quality gap between the cheapest and the full variant that routing "
    "recovers over all budgets; random routing has 0.5. CPT: least share of the budget that "
    "recovers so much of the gap. AIQ: mean height of the curve's concave hull over cost. Saved at "
    "best: share of the full model's cost saved at the kept quality with a threshold set on the "
    "test itself, in hindsight. Saved and kept: with the threshold calibrated beforehand; held: "
    "the share of splits where that kept what was promised. Brackets: 95% intervals over the "
    "splits."
)


def write(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write both files and the chart as SVG; return their paths."""
    from weightcut.reports.charts.export import save, still
    from weightcut.reports.charts.routing import cost_quality

    folder.mkdir(parents=True, exist_ok=True)
    chart = cost_quality(result)
    picture = save(chart, folder / "routing.svg")
    markdown, page = folder / "routing.md", folder / "routing.html"
    write_whole(markdown, _markdown(result, picture.name).encode())
    write_whole(page, _page(result, still(chart)).encode())
    return [markdown, page, picture]


def table_rows(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the table of policies, the best first, the references after them."""
    policies: Mapping[str, Mapping[str, Any]] = result["policies"]
    ranked = sorted(
        policies, key=lambda p: (policies[p]["reference"], -(policies[p]["apgr"]["value"] or 0))
    )
    return [(name, *_figures(policies[name])) for name in ranked]


def _figures(found: Mapping[str, Any]) -> tuple[str, ...]:
    promise = found.get("promise") or {}
    return (
        _span(found["apgr"]),
        *(_percent(found["cpt"][p]) for p in ("50", "80", "95")),
        _number(found["aiq"]),
        _percent(found["cost_saved_at_kept_quality"]),
        _percent(promise.get("cost_saved", {}).get("value")),
        _percent(promise.get("quality_kept", {}).get("value")),
        _percent(promise.get("held")),
    )


def _span(found: Mapping[str, float | None]) -> str:
    if found["low"] is None or found["low"] == found["high"]:
        return _number(found["value"])
    return f"{_number(found['value'])} [{_number(found['low'])}, {_number(found['high'])}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}".replace("100.0%", "100%")


def _facts(result: Mapping[str, Any]) -> list[str]:
    variants = [
        f"{name} (cost {result['costs'][name]:.4g}, quality {result['qualities'][name]:.3f})"
        for name in result["variants"]
    ]
    return [
        *result["says"],
        f"{result['n']} prompts; {result['splits']} random splits into {result['train']} to learn "
        f"from and {result['test']} to test on; prompts of the same words are never on both sides.",
        f"Variants, the cheapest first: {', '.join(variants)}.",
        *result["warnings"],
    ]


def _markdown(result: Mapping[str, Any], picture: str) -> str:
    from weightcut.reports.markdown import escape

    lines = ["# Routing", "", *(f"{escape(fact)}\n" for fact in _facts(result))]
    lines += [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(map(escape, row))} |" for row in table_rows(result)]
    lines += ["", f"![Quality by budget]({picture})", "", _NOTE, ""]
    return "\n".join(lines)


def _page(result: Mapping[str, Any], picture: str) -> str:
    cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table_rows(result)]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Routing</title>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse;display:block;overflow-x:auto}"
        "td,th{padding:.3rem .6rem;text-align:right;border-bottom:1px solid #ddd}"
        "td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
        "</style></head><body><h1>Routing</h1>"
        + "".join(f"<p>{html.escape(fact)}</p>" for fact in _facts(result))
        + "<table><thead><tr>"
        + "".join(f"<th>{html.escape(heading)}</th>" for heading in HEADINGS)
        + "</tr></thead><tbody>"
        + "".join(f"<tr>{row}</tr>" for row in cells)
        + f"</tbody></table>{picture}<p>{html.escape(_NOTE)}</p></body></html>\n"
    )
