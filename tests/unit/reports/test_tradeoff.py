"""The charts that only the dashboard draws."""

from __future__ import annotations

import itertools

import pytest
from tests.dashboard_runs import CURVE, HOSTILE, many_variants, small_study

from weightcut.analysis.results import build_results
from weightcut.records import Results
from weightcut.reports import charts
from weightcut.reports.charts.routing import promises
from weightcut.reports.charts.tradeoff import Spot, best, spots


@pytest.fixture(scope="module")
def results() -> Results:
    return build_results(*small_study(samples=12, windows=2))


def test_the_axes_are_the_measures_that_are_known(results: Results) -> None:
    known = charts.axes(results)
    assert {"latency", "throughput", "memory", "size", "humaneval/pass@1"} <= set(known)
    assert not {"money"} & set(known)


@pytest.mark.parametrize(
    ("x", "y"), list(itertools.permutations(("latency", "throughput", "humaneval/pass@1"), 2))
)
def test_the_frontier_is_what_nothing_beats(results: Results, x: str, y: str) -> None:
    known = charts.axes(results)
    across, up = known[x], known[y]
    found = [s for s in spots(results, across, up) if not any(g.worse for g in s.variant.guards)]

    def worth(spot: Spot) -> tuple[float, float]:
        signs = (1 if across.rises else -1, 1 if up.rises else -1)
        return signs[0] * (spot.x.value or 0), signs[1] * (spot.y.value or 0)

    def beaten(one: Spot) -> bool:
        mine = worth(one)
        return any(
            worth(other) != mine and all(a >= b for a, b in zip(worth(other), mine, strict=True))
            for other in found
        )

    expected = {s.variant.name for s in found if not beaten(s)}
    chosen = {s.variant.name for s in best(found, across, up)}
    assert chosen <= expected
    assert {worth(s) for s in best(found, across, up)} == {
        worth(s) for s in found if s.variant.name in expected
    }


def test_a_tradeoff_is_drawn_and_described(results: Results) -> None:
    known = charts.axes(results)
    figure = charts.tradeoff(results, known["throughput"], known["humaneval/codebleu"])
    assert figure.chart is not None
    assert "Towards up and right is better" in figure.caption
    assert charts.still(figure.chart).startswith("<svg")


def test_two_hundred_variants_are_drawn(results: Results) -> None:
    many = many_variants(results, 200)
    known = charts.axes(many)
    figure = charts.tradeoff(many, known["latency"], known["size"])
    assert figure.chart is not None


def test_without_a_common_figure_nothing_is_drawn(results: Results) -> None:
    known = charts.axes(results)
    empty = results.model_copy(update={"variants": []})
    assert "Not drawn" in charts.tradeoff(empty, known["latency"], known["size"]).missing


def test_parallel_axes_run_from_worst_to_best(results: Results) -> None:
    known = charts.axes(results)
    figure = charts.parallel(results, [known["latency"], known["humaneval/codebleu"]])
    assert figure.chart is not None
    rows = [row for data in figure.chart.to_dict()["datasets"].values() for row in data]
    latency = {row["variant"]: row["share"] for row in rows if row["axis"] == "latency"}
    assert (min(latency.values()), max(latency.values())) == (0, 1)
    assert latency["full"] < latency["ov-int8"]


def test_a_parallel_chart_needs_two_variants(results: Results) -> None:
    one = results.model_copy(update={"variants": results.variants[:1]})
    assert charts.parallel(one, list(charts.axes(one).values())).chart is None


def test_training_curves_are_drawn_with_held_out_losses() -> None:
    known = [{k: float(v) for k, v in p.items() if v is not None} for p in CURVE]
    figure = charts.training({HOSTILE: known}, "loss")
    assert figure.chart is not None
    rows = [row for data in figure.chart.to_dict()["datasets"].values() for row in data]
    assert {row["kind"] for row in rows} == {"training", "held-out"}
    assert charts.training({"a": [{"step": 1.0}]}, "tokens_per_s").chart is None


def test_promises_are_drawn_where_one_can_be_given() -> None:
    rows = [{"keep": k / 100, "saved": 1 - k / 100, "kept": k / 100} for k in range(50, 100)]
    assert promises(rows, 0.95).chart is not None
    assert promises([{"keep": 0.95, "saved": 0.0, "kept": 1.0}], 0.95).chart is None
