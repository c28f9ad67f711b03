from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.studies import example_study

from weightcut.analysis.cost import Answers, answers_of, cost_of, per_accepted
from weightcut.analysis.results import build_results
from weightcut.analysis.speed import summarize_profile, timing_doubts
from weightcut.records import Cell, CellKey, Observation, Prices
from weightcut.records.results import BatchCost, Cost, Interval

PRICES = Prices(
    currency="EUR", machine_per_hour=3.6, watts_per_core=10, idle_watts=5, grid_g_per_kwh=360
)
HALF = Answers("t", 48.0, Interval(value=0.5, low=0.25, high=1.0, n=8))


def _readings(**more: float) -> list[Observation]:
    """Batches of 4 answers of 48 tokens, 2 s each, with 3 CPU seconds."""
    found = [
        Observation(
            sample=f"latency-{i:03d}",
            values={"ttft_s": 0.1, "tpot_s": 0.02, "latency_s": 1.04, "tokens": 48.0},
        )
        for i in range(5)
    ]
    values = {"concurrency": 4.0, "tokens": 192.0, "seconds": 2.0, "cpu_s": 3.0, "spent_s": 2.0}
    return [
        *found,
        *(Observation(sample=f"throughput-4-{n}", values=values | more) for n in range(2)),
    ]


def _cell(**manifest: Any) -> Cell:
    key = CellKey(variant="v", stage="profile")
    return Cell(key=key, state="done", seconds=36.0, manifest=manifest)


def _cost(
    readings: list[Observation], answers: Answers = HALF, prices: Prices = PRICES, **manifest: Any
) -> BatchCost:
    found = cost_of(answers, summarize_profile(readings, {}), readings, [_cell(**manifest)], prices)
    assert found is not None
    return found.at["4"]


def test_every_formula() -> None:
    cost = _cost(_readings())
    assert cost.seconds_per_answer == pytest.approx(0.5)
    assert cost.cpu_seconds_per_answer == pytest.approx(0.75)
    assert cost.joules_per_answer == pytest.approx(0.75 * 10 + 0.5 * 5)
    assert cost.joules_per_token == pytest.approx(10 / 48)
    assert cost.energy == "estimate"
    assert cost.co2_g_per_1000_answers == pytest.approx(1000 * 10 / 3.6e6 * 360)
    assert cost.money_per_1000_answers == pytest.approx(0.5)
    assert cost.money_per_million_tokens == pytest.approx(0.0005 * 1e6 / 48)
    assert cost.joules_per_accepted is not None
    assert cost.joules_per_accepted.value == pytest.approx(20)
    assert (cost.joules_per_accepted.low, cost.joules_per_accepted.high) == pytest.approx((10, 40))
    assert cost.money_per_accepted is not None
    assert cost.money_per_accepted.value == pytest.approx(0.001)


def test_longer_answers_cost_more_by_the_time_they_take() -> None:
    longer = Answers("t", 95.0, HALF.accepted)
    stretch = (0.1 + 94 * 0.02) / (0.1 + 47 * 0.02)
    cost = _cost(_readings(), longer)
    assert cost.seconds_per_answer == pytest.approx(0.5 * stretch)


def test_counters_are_believed_before_estimates() -> None:
    cost = _cost(_readings(cpu_j=80.0, gpu_j=400.0))
    assert cost.energy == "counters"
    assert cost.joules_per_answer == pytest.approx(20)  # the GPU was not at work


def test_a_gpu_counts_where_it_worked() -> None:
    both = _cost(_readings(cpu_j=80.0, gpu_j=400.0), gpus_held=1)
    assert both.joules_per_answer == pytest.approx(120)
    mixed = _cost(_readings(gpu_j=400.0), gpus_held=1)
    assert mixed.energy == "mixed"
    assert mixed.joules_per_answer == pytest.approx(110)
    unknown = _cost(_readings(cpu_j=80.0), gpus_held=1)
    assert unknown.joules_per_answer is None
    assert unknown.energy is None


def test_without_prices_there_is_no_money_and_no_carbon() -> None:
    cost = _cost(_readings(), prices=Prices())
    assert cost.joules_per_answer == pytest.approx(7.5)
    assert cost.money_per_1000_answers is None
    assert cost.money_per_accepted is None
    assert cost.co2_g_per_1000_answers is None


def test_readings_of_old_runs_have_no_energy() -> None:
    old = [
        o.model_copy(update={"values": {k: o.values[k] for k in o.values if "cpu" not in k}})
        for o in _readings()
    ]
    cost = _cost(old)
    assert cost.cpu_seconds_per_answer is None
    assert cost.joules_per_answer is None
    assert cost.seconds_per_answer == pytest.approx(0.5)


def test_no_accepted_answer_leaves_a_bound() -> None:
    none = per_accepted(10.0, Interval(value=0.0, low=0.0, high=0.05, n=8))
    assert none is not None
    assert none.value is None
    assert none.low == pytest.approx(200)
    assert "no answer" in none.reason


@given(st.floats(1e-6, 1e6), st.floats(0.001, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_interval_holds_the_value(cost: float, value: float, down: float, up: float) -> None:
    accepted = Interval(value=value, low=value * down, high=value + (1 - value) * up)
    found = per_accepted(cost, accepted)
    assert found is not None
    assert found.value is not None
    assert found.low is not None
    assert found.low <= found.value * (1 + 1e-9)
    assert found.high is None or found.value <= found.high * (1 + 1e-9)
    assert found.high is not None or accepted.low == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("key", ["tokens", "seconds", "cpu_s", "concurrency"])
def test_broken_readings_never_raise(key: str, bad: float) -> None:
    readings = _readings(**{key: bad})
    profile = summarize_profile(readings, {})
    found = cost_of(HALF, profile, readings, [], PRICES)
    for batch in found.at.values() if found else ():
        for value in batch.model_dump().values():
            assert not isinstance(value, float) or math.isfinite(value)


def test_hours_are_summed_by_stage() -> None:
    cells = [
        _cell(cpu_seconds=72.0, gpus_held=2, seconds=18.0),
        _cell(cpu_seconds=36.0, gpus_held=0).model_copy(
            update={"key": CellKey(variant="v", stage="task", task="t")}
        ),
        _cell().model_copy(update={"key": CellKey(variant="v", stage="build")}),
    ]
    cost = cost_of(Answers(), None, [], cells, PRICES)
    assert isinstance(cost, Cost)
    assert cost.hours["profile"].model_dump() == pytest.approx(
        {"wall": 0.01, "cpu": 0.02, "gpu": 0.01}
    )
    assert cost.hours["task"].gpu == 0
    assert cost.hours["build"].cpu is None


def test_the_answers_are_those_of_the_primary_task_with_tests() -> None:
    tasks = {
        "text": {"perplexity": 3.0},
        "a": {"tokens": 10.0, "pass@1": {"value": 0.1}},
        "b": {"tokens": 20.0, "pass@1": {"value": 0.2}},
    }
    assert answers_of(tasks, "b").tokens == 20.0
    assert answers_of(tasks, "text").task == "a"
    assert answers_of({"text": {}}, "text") == Answers()


def test_the_broken_model_is_the_dear_one() -> None:
    """By the token the rambling model is the cheapest; by the accepted answer it is not."""
    results = build_results(*example_study(windows=4), PRICES)
    by_name = {v.name: v.cost.at["32"] for v in results.variants if v.cost}
    pruned, full = by_name["pruned-int8"], by_name["full"]
    assert (pruned.joules_per_token or 9) < (full.joules_per_token or 0)
    assert pruned.joules_per_accepted is not None
    assert full.joules_per_accepted is not None
    assert (pruned.joules_per_accepted.value or 0) > (full.joules_per_accepted.value or 9e9)
    assert by_name["ov-int4"].joules_per_accepted is not None
    assert results.prices["currency"] == "EUR"


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_busy_machine_is_told(when: str) -> None:
    values = {f"busy_{w}": 0.02 for w in ("before", "during", "after")} | {f"busy_{when}": 0.4}
    profile = summarize_profile([*_readings(), Observation(sample="machine", values=values)], {})
    assert profile is not None
    assert profile.quiet is False
    assert profile.busy[when] == 0.4
    assert any("40%" in doubt for doubt in timing_doubts(profile))


def test_repeats_that_differ_are_told() -> None:
    steady = summarize_profile(_readings(), {})
    assert steady is not None
    assert steady.variation == pytest.approx(0)
    assert timing_doubts(steady) == []
    slow = _readings()[-1].model_copy(
        update={"sample": "throughput-4-2", "values": _readings()[-1].values | {"seconds": 4.0}}
    )
    shaky = summarize_profile([*_readings(), slow], {})
    assert shaky is not None
    assert shaky.variation == pytest.approx((96 - 48) / ((96 + 96 + 48) / 3))
    assert any("differ by 60%" in doubt for doubt in timing_doubts(shaky))
