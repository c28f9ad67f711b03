from __future__ import annotations

import math

import pytest
from tests.studies import example_study

from weightcut.analysis.names import joules
from weightcut.analysis.results import build_results
from weightcut.analysis.tidy import rows
from weightcut.records import Prices
from weightcut.records.results import Results


def _results() -> Results:
    return build_results(*example_study(windows=4), Prices(currency="EUR", machine_per_hour=1))


def test_one_row_a_measurement_and_none_twice() -> None:
    found = list(rows(_results(), "monday"))
    keys = [(r.run, r.variant, r.group, r.task, r.metric, r.at) for r in found]
    assert len(set(keys)) == len(keys)
    assert {r.group for r in found} == {"task", "profile", "against_baseline", "cost", "artifact"}
    assert all(math.isfinite(r.value) for r in found)
    assert {r.run for r in found} == {"monday"}


def test_figures_are_those_of_the_results() -> None:
    results = _results()
    found = {(r.variant, r.group, r.metric, r.at): r for r in rows(results, "x")}
    one = results.variants[2]
    passed = found[(one.name, "task", "pass@1", "")]
    assert passed.value == one.tasks["humaneval"]["pass@1"]["value"]
    assert passed.low == one.tasks["humaneval"]["pass@1"]["low"]
    assert (passed.unit, passed.n, passed.task) == ("share", 164, "humaneval")
    perplexity = found[(one.name, "task", "perplexity", "")]
    assert perplexity.value == one.tasks["perplexity"]["value"]
    assert perplexity.low == one.tasks["perplexity"]["low"]
    assert one.profile is not None
    latency = found[(one.name, "profile", "latency_ms", "p90")]
    assert latency.value == one.profile.latency_ms.p90
    assert found[(one.name, "cost", "money_per_accepted", "32")].unit == "EUR"
    assert found[(one.name, "profile", "tokens_per_s", "8")].value > 0


def test_what_is_missing_has_no_row() -> None:
    results = _results()
    bare = results.variants[0].model_copy(
        update={"tasks": {"t": {"x": math.nan, "y": None, "z": "word"}}, "profile": None,
                "against_baseline": None, "cost": None, "artifact_bytes": None}
    )  # fmt: skip
    assert list(rows(results.model_copy(update={"variants": [bare]}), "x")) == []
    empty = results.model_copy(update={"variants": [], "machine": {}, "conditions": {}})
    assert list(rows(empty, "x")) == []


def test_odd_machines_and_conditions() -> None:
    odd = _results().model_copy(
        update={"machine": {"cores": "two", "gpus": [{"name": "A"}, "B"]},
                "conditions": {"model": "m", "versions": None}}
    )  # fmt: skip
    first = next(iter(rows(odd, "x")))
    assert first.cores is None
    assert first.gpus == "A, B"


def test_an_estimated_energy_has_the_word_in_its_unit() -> None:
    found = {r.unit for r in rows(_results(), "x") if r.metric.startswith("joules")}
    assert found == {"J, estimate"}


@pytest.mark.parametrize(
    ("kinds", "unit"),
    [
        ([], "J"),
        ([None, "counters"], "J"),
        (["estimate", None], "J, estimate"),
        (["mixed"], "J, partly estimate"),
        (["counters", "estimate"], "J, partly estimate"),
    ],
)
def test_the_unit_of_energies(kinds: list[str | None], unit: str) -> None:
    assert joules(kinds) == unit


def test_what_is_kept_is_of_a_task_and_a_metric() -> None:
    found = [r for r in rows(_results(), "x") if r.metric == "primary_retention"]
    assert {(r.task, r.at) for r in found} == {("humaneval", "codebleu")}
