from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import yaml

from weightcut import registry
from weightcut.analysis.prices import read_prices
from weightcut.analysis.tidy import Row
from weightcut.records import LoadSpec, Prices
from weightcut.records import results as records
from weightcut.records.results import Results
from weightcut.reports.csv import write

DOCS = Path(__file__).parents[3] / "docs" / "results.md"
PARTS = [
    records.Interval,
    records.Percentiles,
    records.LoadLevel,
    records.Load,
    records.Profile,
    records.BatchCost,
    records.Cost,
    records.Hours,
    records.AgainstBaseline,
    records.Guard,
    records.Agreement,
    records.VariantResult,
    records.Skipped,
    records.Results,
]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_key_is_documented(part: type[records.Part]) -> None:
    text = DOCS.read_text()
    for name, field in part.model_fields.items():
        assert f"`{field.alias or name}`" in text, f"{part.__name__}.{name}"


def test_every_figure_of_the_tasks_is_documented(results: Results) -> None:
    text = DOCS.read_text()
    for variant in results.variants:
        for figures in variant.tasks.values():
            for name in figures:
                assert f"`{name}`" in text, name


def test_every_column_is_documented(results: Results, tmp_path: Path) -> None:
    text = DOCS.read_text().split("# results.csv")[1]
    with write(results, tmp_path).open(newline="") as stream:
        columns = next(csv.reader(stream))
    known = set(re.findall(r"`([a-z_0-9]+)`", text))
    for column in columns:
        head = column.split(".")[0]
        listed = head in known or head in ("humaneval", "perplexity", "retention")
        assert (
            listed
            or f"`{head}.<n>`" in text
            or f"`{head}.p50`" in text
            or head
            in (
                "tpot_ms",
                "latency_ms",
            )
        ), column


def test_the_schema_is_the_one_documented() -> None:
    assert f"now `{records.SCHEMA}`" in DOCS.read_text()


def test_every_registered_format_writes_a_file(results: Results, tmp_path: Path) -> None:
    for name in ("csv", "json", "md"):
        assert registry.load("report", name)(results, tmp_path).stat().st_size > 1000
    for name in ("html", "pdf", "png", "svg"):
        assert callable(registry.load("report", name))


def test_every_column_of_the_summary_is_documented() -> None:
    text = DOCS.read_text().split("# summary.csv")[1]
    for column in Row.model_fields:
        assert f"`{column}`" in text, column


def test_the_documented_price_file_is_one(tmp_path: Path) -> None:
    text = (DOCS.parent / "cost.md").read_text()
    path = tmp_path / "prices.yaml"
    path.write_text(text.split("```yaml")[1].split("```")[0])
    assert set(read_prices(path).model_dump()) == set(Prices.model_fields)
    for name in Prices.model_fields:
        assert name in path.read_text()


def test_the_documented_load_has_every_key() -> None:
    text = (DOCS.parent / "cost.md").read_text().split("```yaml")[2].split("```")[0]
    load = yaml.safe_load(text)["profile"]["load"]
    assert LoadSpec.model_validate(load) == LoadSpec()
    assert set(load) == set(LoadSpec.model_fields)
