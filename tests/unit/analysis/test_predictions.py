"""What cells were predicted to cost stands beside what they did, as far as it is known."""

from __future__ import annotations

from typing import Any

import pytest
from tests.studies import example_study

from weightcut.analysis.predictions import cell_costs, median_errors
from weightcut.analysis.results import build_results
from weightcut.records import Cell, CellKey


def cell(name: str, seconds: float, predicted: Any, **told: Any) -> Cell:
    manifest = {"seconds": seconds, "predicted": predicted, "peak_rss_bytes": 1000} | told
    return Cell(key=CellKey(variant=name, stage="build"), state="done", manifest=manifest)


def test_errors_are_the_median_over_cells_that_did_something() -> None:
    cells = [
        cell("a", 10.0, {"seconds": 12.0, "memory": 900, "disk": 5}),
        cell("b", 10.0, {"seconds": 5.0, "memory": 1300, "disk": 5}),
        cell("c", 10.0, {"seconds": 11.0, "memory": 1050, "disk": 5}),
        cell("cached", 0.4, {"seconds": 50.0, "memory": 9, "disk": 5}),
    ]
    study = example_study()
    results = build_results(study.spec, study.machine, study.conditions, cells, {})
    assert len(results.cells) == 4
    assert results.cells[0].predicted_disk_bytes == 5
    assert median_errors(results) == (pytest.approx(0.1), pytest.approx(0.2), 3)


def test_what_was_not_recorded_is_none_and_never_an_error() -> None:
    odd = [
        cell("a", 10.0, {}),
        cell("b", 10.0, {"seconds": "soon", "memory": True}),
        Cell(key=CellKey(variant="c", stage="build"), state="failed", manifest={}),
    ]
    (one,) = cell_costs(odd)
    assert (one.predicted_seconds, one.predicted_memory_bytes) == (None, None)
    study = example_study()
    results = build_results(study.spec, study.machine, study.conditions, odd, {})
    assert median_errors(results) == (None, None, 1)
