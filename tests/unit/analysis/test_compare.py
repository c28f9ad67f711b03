from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest
from tests.studies import Study, example_study

from weightcut.analysis.compare import Side, compare, unlike_conditions
from weightcut.analysis.results import build_results
from weightcut.records import CellKey


def _side(study: Study, variant: str, **conditions: object) -> Side:
    tasks = {
        task: study.observations[CellKey(variant=variant, stage="task", task=task)]
        for task in ("humaneval", "perplexity")
    }
    return Side(variant, {**study.conditions, **conditions}, tasks)


def test_flips_and_ratios_are_those_of_the_results() -> None:
    study = example_study()
    found = compare(_side(study, "full"), _side(study, "ov-int4"), 0.95, study.spec.seed)
    task = found["tasks"]["humaneval"]
    against = next(v for v in build_results(*study).variants if v.name == "ov-int4")
    assert against.against_baseline is not None
    kept = against.against_baseline.codebleu_retention
    assert kept is not None
    ratio = task["metrics"]["codebleu"]["ratio"]
    assert (ratio["value"], ratio["low"], ratio["high"]) == (kept.value, kept.low, kept.high)
    lost, gained = (task["flips"][k] for k in ("lost", "gained"))
    assert against.against_baseline.flips == {"lost": len(lost), "gained": len(gained)}
    expected = binomtest(len(lost), len(lost) + len(gained), 0.5).pvalue
    assert task["flips"]["p_value"] == pytest.approx(expected)
    for row in task["samples"]:
        assert (row["sample"] in lost) == (row["a"]["passed"] > row["b"]["passed"])


def test_samples_come_in_natural_order() -> None:
    study = example_study(samples=12)
    found = compare(_side(study, "full"), _side(study, "nf4"), 0.95, 0)
    names = [row["sample"] for row in found["tasks"]["humaneval"]["samples"]]
    assert names == [f"HumanEval/{i}" for i in range(12)]


def test_perplexities_are_compared_too() -> None:
    study = example_study()
    found = compare(_side(study, "full"), _side(study, "nf4"), 0.95, 0)
    metric = found["tasks"]["perplexity"]["metrics"]["perplexity"]
    assert metric["ratio"]["value"] == pytest.approx(metric["a"] / metric["b"])
    assert math.isfinite(metric["ratio"]["low"])


def test_samples_of_one_side_alone_are_named() -> None:
    study = example_study()
    a, b = _side(study, "full"), _side(study, "nf4")
    short = Side("nf4", b.conditions, {"humaneval": b.tasks["humaneval"][:160]})
    found = compare(a, short, 0.95, 0)["tasks"]
    assert found.keys() == {"humaneval"}
    assert found["humaneval"]["n"] == 160
    assert len(found["humaneval"]["only_a"]) == 4
    assert found["humaneval"]["only_b"] == []
    cut = Side("full", a.conditions, {"humaneval": a.tasks["humaneval"][:160]})
    assert (
        found["humaneval"]["metrics"]
        == compare(cut, short, 0.95, 0)["tasks"]["humaneval"]["metrics"]
    )


def test_unlike_conditions_are_named() -> None:
    study = example_study()
    a = _side(study, "full")
    assert unlike_conditions(a, a) == []
    b = _side(study, "full", seed=1, model={"digest": "x", "origin": "elsewhere"})
    c = _side(study, "full", model={"digest": "y", "origin": "here"})
    found = unlike_conditions(c, b)
    assert found == ["model.digest: y against x", "seed: 0 against 1"]


def test_a_task_of_one_run_alone_is_no_unlike_condition() -> None:
    study = example_study()
    a = _side(study, "full")
    b = Side("b", {**a.conditions, "tasks": {"humaneval": a.conditions["tasks"]["humaneval"]}}, {
        "humaneval": a.tasks["humaneval"]
    })  # fmt: skip
    assert unlike_conditions(a, b) == []


def test_the_same_data_in_another_place_are_alike_and_other_data_are_not() -> None:
    study = example_study()

    def side(place: str, digest: str | None) -> Side:
        conditions = {
            "tasks": {"humaneval": {"data": place, "limit": 5}},
            "task_data": {"humaneval": {"digest": digest, "notes": [place]}},
        }
        return _side(study, "full", **conditions)

    assert unlike_conditions(side("here", "a1"), side("there", "a1")) == []
    assert unlike_conditions(side("here", "a1"), side("there", "b2")) == [
        "task_data.humaneval.digest: a1 against b2",
        "tasks.humaneval.data: here against there",
    ]
    assert unlike_conditions(side("here", None), side("there", None)) == [
        "tasks.humaneval.data: here against there"
    ]
