from __future__ import annotations

from typing import Any

import pytest

from weightcut.records.results import Results, VariantResult
from weightcut.reports import charts, view
from weightcut.reports.training import curves, ranks, training


def variant(name: str, rank: int | None, perplexity: float, kind: str = "lora") -> VariantResult:
    curve = [
        {
            "step": step,
            "loss": 3.0 - 0.1 * step,
            "held_out_loss": 2.5 if step == 4 else None,
            "learning_rate": 1e-4,
            "tokens_per_s": 200.0,
            "seconds": 2.0 * step,
            "peak_rss_bytes": 2_000_000_000,
        }
        for step in range(1, 5)
    ]
    record: dict[str, Any] = {
        "curve": curve,
        "trainable_parameters": 1234,
        "total_parameters": 5678,
        "steps": 4,
        "seconds": 8.0,
        "tokens_per_s": 200.0,
        "peak_rss_bytes": 2_000_000_000,
        "validation_before": {"loss": 3.0},
        "validation_after": {"loss": 2.5},
    }
    step = {"kind": kind} | ({} if rank is None else {"rank": rank})
    return VariantResult(
        name=name,
        engine="transformers",
        recipe=[step],
        artifact_bytes=10,
        details={kind: record},
        tasks={"perplexity": {"value": perplexity}},
        profile=None,
        against_baseline=None,
        verdict="unmeasured",
        verdict_reasons=[],
        meets_target=False,
        on_frontier=False,
    )


def results(*variants: VariantResult) -> Results:
    plain = variant("full", None, 12.0).model_copy(update={"recipe": [], "details": {}})
    return Results(
        study="ranks",
        baseline="full",
        complete=True,
        machine={},
        conditions={},
        keep={},
        target={},
        variants=[plain, *variants],
        recommended=None,
        recommendation="",
        skipped=[],
    )


def test_only_trained_variants_stand_in_the_table() -> None:
    assert training(results()) == []
    (table,) = training(results(variant("a", 4, 11.0), variant("b", None, 11.5, "distill")))
    rows = [dict(zip((c.label for c in table.columns), r, strict=True)) for r in table.rows]
    assert [row["variant"].text for row in rows] == ["a", "b"]
    assert [row["rank"].text for row in rows] == ["4", "–"]
    assert rows[0]["weights trained"].text == "1,234"
    assert rows[0]["after"].text == "2.500"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({4: 12.0, 16: 11.0, 64: 10.98}, "beyond rank 16 more rank stops paying"),
        ({4: 12.0, 16: 11.0, 64: 10.0}, "up to rank 64 more rank pays"),
        ({4: 12.0, 16: 11.95, 64: 11.8}, "up to rank 64 more rank pays"),
        ({4: 12.0, 16: 12.5, 64: 12.4}, "beyond rank 4 more rank stops paying"),
    ],
)
def test_where_more_rank_stops_paying_is_said(found: dict[int, float], said: str) -> None:
    (sentence,) = ranks(results(*(variant(f"r{r}", r, p) for r, p in found.items())))
    assert said in sentence
    assert "12.000 at rank 4" in sentence
    (table,) = training(results(*(variant(f"r{r}", r, p) for r, p in found.items())))
    assert said in table.caption


def test_methods_are_compared_with_themselves_alone() -> None:
    both = results(
        variant("a", 4, 11.0), variant("b", 8, 10.0), variant("c", 4, 9.0, "qlora"),
        variant("d", 8, 9.0, "qlora"), variant("e", 4, 1.0, "other"),
    )  # fmt: skip
    lora, qlora = ranks(both)
    assert lora.startswith("lora: perplexity 11.000 at rank 4, 10.000 at rank 8")
    assert "beyond rank 4" in qlora


def test_reports_show_the_curve_and_the_table() -> None:
    found = results(variant("a", 4, 11.0))
    assert [len(points) for points in curves(found).values()] == [4]
    assert "held_out_loss" not in curves(found)["a"][0]
    assert "training-loss" in [figure.key for figure in charts.figures(found)]
    assert "training-loss" not in [figure.key for figure in charts.figures(results())]
    assert "training" in [table.key for table in view.page(found).tables]
