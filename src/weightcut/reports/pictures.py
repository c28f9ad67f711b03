"""`charts/`: every chart of a study as a picture of its own, SVG or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from weightcut.records.results import Results
from weightcut.reports import charts

FOLDER = "charts"


def write_svg(results: Results, folder: Path) -> Path:
    """Write `charts/<name>.svg`; returns the folder."""
    return _write(results, folder, "svg")


def write_png(results: Results, folder: Path) -> Path:
    """Write `charts/<name>.png`, two pixels for each of the chart's; returns the folder."""
    return _write(results, folder, "png")


def _write(results: Results, folder: Path, suffix: Literal["svg", "png"]) -> Path:
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for figure in charts.figures(results):
        if figure.chart is not None:
            charts.save(figure.chart, target / f"{_file_name(figure.key)}.{suffix}")
    return target


def _file_name(key: str) -> str:
    """Return a chart's key as a file name: a task may be named anything."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else "-" for c in key)[:100]
