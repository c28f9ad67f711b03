"""`report.html`: one self-contained, interactive page that opens without any network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from weightcut.files import write_whole
from weightcut.records.results import Results
from weightcut.reports import charts, view
from weightcut.reports.templates import render

FILE = "report.html"


def write(results: Results, folder: Path) -> Path:
    """Write `report.html`: text, tables, charts and the code that draws them, in one file."""
    path = folder / FILE
    write_whole(path, page(results).encode())
    return path


def page(results: Results) -> str:
    """Return the page; its security policy forbids every request and every foreign script."""
    wide, narrow = charts.figures(results, charts.WIDE), charts.figures(results, charts.NARROW)
    datasets: dict[str, Any] = {}
    drawn = {
        figure.key: {"wide": _spec(figure, datasets), "narrow": _spec(small, datasets)}
        for figure, small in zip(wide, narrow, strict=True)
        if figure.chart is not None
    }
    facts = {f["name"]: f for f in (charts.facts(results, variant) for variant in results.variants)}
    data = {
        "charts": drawn,
        "datasets": {name: _slim(rows, facts) for name, rows in datasets.items()},
        "facts": facts,
        "width": charts.WIDE,
        "config": {"light": charts.theme(), "dark": charts.theme(dark=True)},
        "palette": charts.palettes(),
    }
    scripts = [_bundle(), _own("report.js")] if drawn else [_own("report.js")]
    return render(
        "report.html.j2",
        {"anchor": _anchor},
        page=view.page(results),
        figures=[(figure, _picture(figure)) for figure in wide],
        style=_own("report.css"),
        data=json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
    )


def _spec(figure: charts.Figure, datasets: dict[str, Any]) -> dict[str, Any]:
    """Return a chart's specification; its data go to `datasets`, where charts share them."""
    if figure.chart is None:
        return {}
    spec: dict[str, Any] = figure.chart.to_dict()
    del spec["$schema"]  # an address that is never fetched, and that nobody should have to trust
    datasets.update(spec.pop("datasets", {}))
    spec["description"] = figure.description
    return spec


def _picture(figure: charts.Figure) -> str:
    """Return a still picture for print and for readers without scripts, as a data address."""
    if figure.chart is None:
        return ""
    return "data:image/svg+xml," + quote(charts.still(figure.chart), safe=" =:;,.()/-+'@&?!*")


def _slim(rows: list[dict[str, Any]], facts: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Return a chart's rows without what the page's facts already say of their variants."""
    return [
        {k: v for k, v in row.items() if k == "name" or known.get(k) != v}
        for row in rows
        for known in [facts.get(row.get("name", ""), {})]
    ]


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    options: dict[str, Any] = {"vl_version": charts.vega_lite_version()}
    return _inert(vl_convert.javascript_bundle(**options))


@cache
def _own(name: str) -> str:
    return resources.files("weightcut.reports.templates").joinpath(name).read_text("utf-8")


def _anchor(name: object) -> str:
    """Return a name as an HTML id."""
    return "s-" + re.sub(r"[^A-Za-z0-9]+", "-", str(name)).strip("-").lower()


def _inert(script: str) -> str:
    """Return a script that cannot end the element that it stands in (in strings and patterns)."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
