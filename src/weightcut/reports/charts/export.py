"""Charts with a theme, and as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightcut.errors import UsageError
from weightcut.files import write_whole
from weightcut.reports.charts.style import recolour, theme

if TYPE_CHECKING:
    import altair as alt

_SUFFIXES = (".png", ".svg", ".pdf")


def themed(chart: alt.LayerChart | alt.VConcatChart, *, dark: bool = False) -> dict[str, Any]:
    """Return the chart as a Vega-Lite specification with the light or the dark look."""
    spec: dict[str, Any] = chart.to_dict()
    spec["config"] = theme(dark=dark)
    recoloured: dict[str, Any] = recolour(spec, dark=dark)
    return recoloured


def still(chart: alt.LayerChart, font: str = "system-ui, sans-serif") -> str:
    """Return a light SVG picture for a page, without what only a live chart shows.

    font: a font family of CSS. Descriptions of single marks are left out too, which would triple
    its size: a page describes the whole chart.
    """
    import vl_convert

    spec = themed(chart)
    spec["config"] |= {"aria": False, "font": font}
    picture: str = vl_convert.vegalite_to_svg(spec, vl_version=vega_lite_version())
    return re.sub(r'<text [^>]*opacity="0"[^>]*>[^<]*</text>', "", picture)


def save(
    chart: alt.LayerChart | alt.VConcatChart,
    path: Path,
    *,
    dark: bool = False,
    scale: float = 2.0,
) -> Path:
    """Write the chart as the picture that the path's suffix names: .png, .svg or .pdf.

    scale: pixels of a PNG per pixel of the chart. Needs no browser and no network.
    """
    import vl_convert

    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"cannot write a chart as {suffix or 'a file without a suffix'}",
            place=str(path),
            cure=f"use one of {', '.join(_SUFFIXES)}",
        )
    spec, version = themed(chart, dark=dark), vega_lite_version()
    if suffix == ".svg":
        data = vl_convert.vegalite_to_svg(spec, vl_version=version).encode()
    elif suffix == ".png":
        data = vl_convert.vegalite_to_png(spec, vl_version=version, scale=scale)
    else:
        data = vl_convert.vegalite_to_pdf(spec, vl_version=version)
    write_whole(path, data)
    return path


def vega_lite_version() -> str:
    """Return the Vega-Lite version that altair writes, as vl-convert names it."""
    import altair as alt

    return "v" + "_".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
