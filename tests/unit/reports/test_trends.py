from __future__ import annotations

from pathlib import Path

import pytest

from weightcut.analysis.tidy import rows
from weightcut.records.results import Results
from weightcut.reports import charts, summary


def test_a_trend_over_runs(results: Results, tmp_path: Path) -> None:
    runs = ["monday", "'] + alert(1) + ['", "x" * 80]
    table = [row for run in runs for row in rows(results, run)]
    found = charts.trends(table, runs)
    assert found.chart is not None
    assert found.left_out == 0
    path = charts.save(found.chart, tmp_path / "trends.svg")
    text = path.read_text()
    assert "monday" in text
    assert "pass@1" in text
    assert "alert(1)" not in text


def test_more_variants_than_colours_are_left_out_and_counted(results: Results) -> None:
    variants = [
        v.model_copy(update={"name": f"{v.name}-{i}"}) for i in range(3) for v in results.variants
    ]
    many = results.model_copy(update={"variants": variants})
    table = [row for run in ("a", "b") for row in rows(many, run)]
    assert charts.trends(table, ["a", "b"]).left_out == len(variants) - 8


@pytest.mark.parametrize("runs", [[], ["only"]])
def test_one_run_is_no_trend(runs: list[str], results: Results) -> None:
    found = charts.trends([row for run in runs for row in rows(results, run)], runs)
    assert found.chart is None
    assert "two runs" in found.missing


def test_the_table_is_safe_in_a_spreadsheet(results: Results, tmp_path: Path) -> None:
    bad = results.model_copy(update={"study": "=HYPERLINK(1)"})
    text = summary.write(rows(bad, "@run"), tmp_path / "s.csv").read_text()
    assert ",=HYPERLINK" not in text
    assert "'@run" in text
