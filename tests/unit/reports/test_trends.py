from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from weightcut.analysis.tidy import Row, rows
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


def _panels(table: Sequence[Row], runs: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the points of each panel by its title."""
    chart = charts.trends(table, runs).chart
    assert chart is not None
    spec = chart.to_dict()
    found = {}
    for panel in spec["vconcat"]:
        data = panel.get("data") or panel["layer"][0]["data"]
        found[panel["title"]["text"]] = spec["datasets"][data["name"]]
    return found


def test_one_line_is_of_one_task_and_one_metric(results: Results) -> None:
    keep = {**results.keep, "metric": "pass@1", "task": "mbpp"}
    odd = results.model_copy(
        update={
            "keep": keep,
            "variants": [
                v.model_copy(update={"tasks": {"mbpp": v.tasks["humaneval"]}})
                for v in results.variants
            ],
        }
    )
    table = [*rows(odd, "odd"), *rows(results, "a"), *rows(results, "b")]
    found = _panels(table, ["odd", "a", "b"])
    for title in ("CodeBLEU kept (share of the baseline), humaneval", "pass@1, humaneval"):
        assert {point["order"] for point in found[title]} == {1, 2}
    assert {point["order"] for point in found["latency p50 (ms)"]} == {0, 1, 2}
    assert "energy per accepted answer, 32 at once (J, estimate)" in found
