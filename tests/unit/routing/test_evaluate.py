from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.outcomes import table

from weightcut.errors import UsageError
from weightcut.reports.routing import table_rows, write
from weightcut.routing.evaluate import (
    REFERENCES,
    Settings,
    default_policies,
    evaluate,
    in_words,
    interval,
    training_count,
)

POLICIES = ("linear", "knn", "cascade", "length")


@pytest.fixture(scope="module")
def result() -> dict:
    return evaluate(table(300, 3), Settings(train=0.7, splits=2, keep=0.8), POLICIES)


def test_it_has_the_documented_form(result: dict) -> None:
    assert set(result["policies"]) == {*POLICIES, *REFERENCES}
    for found in result["policies"].values():
        assert set(found["apgr"]) == {"value", "low", "high"}
        assert set(found["cpt"]) == {"50", "80", "95"}
        assert isinstance(found["aiq"], float)
        assert isinstance(found["cost_saved_at_kept_quality"], float)
    assert [result[key] for key in ("n", "train", "test", "splits")] == [300, 210, 90, 2]
    assert result["variants"] == ["v0", "v1", "v2"]
    json.dumps(result, allow_nan=False)


def test_learning_helps_and_hindsight_helps_more(result: dict) -> None:
    score = {name: p["apgr"]["value"] for name, p in result["policies"].items()}
    assert score["random"] < score["linear"] < score["oracle"]
    assert score["always-cheapest"] == score["always-full"] == 0.0
    assert any("Routing pays" in line for line in result["says"])


def test_routing_pays_only_where_the_interval_of_the_saving_is_above_0(result: dict) -> None:
    assert any("Routing pays: " in line and "[" in line for line in result["says"])
    for low, said in ((-0.2, "the interval reaches 0"), (None, "not established by one split")):
        other = json.loads(json.dumps(result))
        for name in POLICIES:
            other["policies"][name]["promise"]["cost_saved"]["low"] = low
        told = in_words(other, POLICIES)
        assert said in told[-1]
        assert not any("Routing pays" in line for line in told)


def test_the_same_seed_gives_the_same_figures(result: dict) -> None:
    again = evaluate(table(300, 3), Settings(train=0.7, splits=2, keep=0.8), POLICIES)
    assert again == result


def test_the_report_has_words_table_and_chart(result: dict, tmp_path: Path) -> None:
    hostile = json.loads(json.dumps(result).replace("v0", "<script>|x"))
    paths = write(hostile, tmp_path / "report")
    assert [p.name for p in paths] == ["routing.md", "routing.html", "routing.svg"]
    markdown, page, picture = (p.read_text() for p in paths)
    assert "<script" not in markdown
    assert "<script" not in page
    assert "Routing pays" in markdown
    assert "<svg" in picture
    assert table_rows(result)[-1][0] in REFERENCES


def test_it_says_so_where_routing_does_not_pay() -> None:
    made = table(120)
    alike = replace(made, quality=made.quality[:, ::-1].copy())
    settings = Settings(train=0.6, splits=2)
    worse = evaluate(alike, settings, ("length",))
    assert "Use it for everything" in worse["says"][0]
    same = evaluate(replace(made, cost=np.ones_like(made.cost)), settings, ("length",))
    assert "cost the same" in same["says"][0]
    noise = np.random.default_rng(0).random(made.quality.shape) * 0.2 + [0.0, 0.8]
    unpredictable = evaluate(replace(made, quality=noise), settings, ("length",))
    assert any("does not pay" in line for line in unpredictable["says"])


def test_constant_labels_have_no_gap_and_no_error() -> None:
    made = table(60)
    for value in (0.0, 1.0):
        found = evaluate(
            replace(made, quality=np.full_like(made.quality, value)),
            Settings(splits=1),
            ("linear",),
        )
        assert found["policies"]["linear"]["apgr"]["value"] is None
        json.dumps(found, allow_nan=False)


def test_a_cascade_needs_signals() -> None:
    assert "cascade" in default_policies(table(20))
    assert "cascade" not in default_policies(table(20, signals=False))
    found = evaluate(table(60, signals=False), Settings(splits=1), ("length",))
    assert "cascade was left out" in found["warnings"][-1]


@pytest.mark.parametrize("train", [0, -1, 19, 100, 1.5, float("nan"), float("inf"), 0.999])
def test_a_senseless_training_part_is_refused(train: float) -> None:
    with pytest.raises(UsageError, match="--train"):
        training_count(train, 100)


def test_one_text_that_fills_the_table_is_named_as_the_reason() -> None:
    made = table(200)
    mostly = replace(made, prompts=(*made.prompts[:30], *("the same",) * 170))
    for seed in range(3):
        with pytest.raises(UsageError, match="one text fills 170 of the 200 rows"):
            evaluate(mostly, Settings(train=0.8, splits=5, seed=seed), ("length",))


def test_counts_and_shares() -> None:
    assert training_count(0.8, 1_000) == 800
    assert training_count(99, 100) == 99


def test_intervals_widen_with_the_spread_over_splits() -> None:
    assert interval([0.5], 0.2) == {"value": 0.5, "low": None, "high": None}
    assert interval([0.5, None], 0.2)["value"] is None
    narrow, wide = interval([0.5, 0.51, 0.49], 0.2), interval([0.3, 0.7, 0.5], 0.2)
    assert narrow["low"] > wide["low"]
    assert narrow["value"] == pytest.approx(0.5)
