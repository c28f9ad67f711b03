from __future__ import annotations

import csv
from pathlib import Path

from weightcut.records.results import Results
from weightcut.reports.csv import write


def _rows(results: Results, folder: Path) -> list[dict[str, str]]:
    with write(results, folder).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_row_a_variant_with_its_figures(results: Results, tmp_path: Path) -> None:
    rows = _rows(results, tmp_path)
    assert [row["name"] for row in rows] == [v.name for v in results.variants]
    row = next(row for row in rows if row["name"] == "ov-int8")
    variant = next(v for v in results.variants if v.name == "ov-int8")
    assert variant.profile is not None
    assert variant.against_baseline is not None
    assert row["recommended"] == "true"
    assert row["baseline"] == "false"
    assert row["recipe"] == "int8"
    assert row["humaneval.n"] == "164"
    assert float(row["humaneval.pass@1.low"]) == variant.tasks["humaneval"]["pass@1"]["low"]
    assert float(row["perplexity.value"]) == variant.tasks["perplexity"]["value"]
    assert float(row["tokens_per_s.32"]) == variant.profile.tokens_per_s["32"]
    assert float(row["latency_speedup"]) == variant.against_baseline.latency_speedup
    assert "humaneval.n.low" not in row
    assert float(row["retention.humaneval.codebleu"]) == float(row["primary_retention"])


def test_missing_is_empty(cut: Results, tmp_path: Path) -> None:
    rows = _rows(cut, tmp_path)
    assert len(rows) == len(cut.variants)
    for row, variant in zip(rows, cut.variants, strict=True):
        assert None not in row
        assert None not in row.values()
        assert "None" not in row.values()
        assert row["peak_rss_bytes"] == (
            str(variant.profile.peak_rss_bytes) if variant.profile else ""
        )


def test_no_formula_and_no_control_character(hostile: Results, tmp_path: Path) -> None:
    rows = _rows(hostile, tmp_path)
    assert rows[3]["name"] == "'=HYPERLINK(1)"
    assert rows[5]["name"] == hostile.variants[5].name
    assert not any("\x1b" in value for row in rows for value in row.values())
