"""The one set of chart definitions, for the reports, the dashboard and exported pictures.

`figures(results)` gives every chart of a study, `pareto`, `throughput` and `retention` one of
them. A chart is a plain altair chart without a theme: `themed` adds one, `save` writes it as PNG,
SVG or PDF. Importing this package does not import altair.
"""

from weightcut.reports.charts.costs import cost, under_load
from weightcut.reports.charts.export import save, still, themed, vega_lite_version
from weightcut.reports.charts.figure import NARROW, WIDE, Figure
from weightcut.reports.charts.parallel import parallel
from weightcut.reports.charts.pareto import AXES, COST_AXES, Axis, frontier, pareto, points
from weightcut.reports.charts.retention import retention
from weightcut.reports.charts.study import figures
from weightcut.reports.charts.style import facts, palettes, theme
from weightcut.reports.charts.throughput import throughput
from weightcut.reports.charts.tradeoff import Measure, axes, tradeoff
from weightcut.reports.charts.training import training
from weightcut.reports.charts.trends import Trends, trends

__all__ = [
    "AXES",
    "COST_AXES",
    "NARROW",
    "WIDE",
    "Axis",
    "Figure",
    "Measure",
    "Trends",
    "axes",
    "cost",
    "facts",
    "figures",
    "frontier",
    "palettes",
    "parallel",
    "pareto",
    "points",
    "retention",
    "save",
    "still",
    "theme",
    "themed",
    "throughput",
    "tradeoff",
    "training",
    "trends",
    "under_load",
    "vega_lite_version",
]
