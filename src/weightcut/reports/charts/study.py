"""All charts of a study."""

from __future__ import annotations

from weightcut.records.results import Results
from weightcut.reports import measures
from weightcut.reports.charts.costs import cost, under_load
from weightcut.reports.charts.figure import WIDE, Figure
from weightcut.reports.charts.pareto import AXES, COST_AXES, pareto
from weightcut.reports.charts.retention import retention
from weightcut.reports.charts.throughput import throughput
from weightcut.reports.charts.training import training
from weightcut.reports.training import curves


def figures(results: Results, width: int = WIDE) -> list[Figure]:
    """Return every chart of a study, in the order in which a page shows them.

    width: pixels of a whole chart, axes included.
    """
    kept = measures.retained(results) or [("", str(results.keep.get("metric", "codebleu")))]
    return [
        *(pareto(results, axis, width) for axis in AXES),
        throughput(results, width),
        *(retention(results, task, metric, width) for task, metric in kept),
        *_where_known(results, width),
    ]


def _where_known(results: Results, width: int) -> list[Figure]:
    """Return the charts that a study has only where it asked for what they show."""
    found = [pareto(results, axis, width) for axis in COST_AXES]
    found += [cost(results, "energy", width), cost(results, "money", width)]
    found += [under_load(results, width), training(curves(results), "loss", width)]
    return [figure for figure in found if figure.chart is not None]
