from __future__ import annotations

import numpy as np
import pytest

from weightcut.routing.curves import Curve, aiq, apgr, cpt, curve, saved_at

COST = np.tile([1.0, 10.0], (1_000, 1))
SAVED = np.array([0.9, 0.0])


def _quality() -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.random((1_000, 2)) < [0.5, 0.8]).astype(float)


def test_random_scores_recover_half_of_the_gap() -> None:
    quality = np.column_stack([np.zeros(1_000), np.ones(1_000)])
    found = curve(np.random.default_rng(1).random((1_000, 2)), quality, COST, SAVED, 10.0)
    assert apgr(found) == pytest.approx(0.5)
    assert cpt(found, 80) == pytest.approx(0.8)


def test_equal_scores_are_in_random_order() -> None:
    quality = np.zeros((1_000, 2))
    quality[:500, 1] = 1  # all gains come first in the table
    found = apgr(curve(np.zeros((1_000, 2)), quality, COST, SAVED, 10.0))
    assert found == pytest.approx(0.5, abs=0.05)


def test_the_oracle_by_hand() -> None:
    quality = np.array([[0, 1], [1, 1], [1, 1], [0, 0]], float)
    found = curve(quality, quality, COST[:4], SAVED, 10.0)
    assert found.quality[0] == 0.5
    assert found.quality[25] == 0.75  # one call of four recovers everything
    assert cpt(found, 100) == pytest.approx(0.25, abs=0.13)
    assert saved_at(found, 1.0) == pytest.approx(1 - (10 + 3) / 40)


def test_points_are_the_mean_quality_of_the_top_ranked() -> None:
    quality = _quality()
    predicted = np.random.default_rng(2).random((1_000, 2))
    found = curve(predicted, quality, COST, SAVED, 10.0)
    strong = np.argsort(-(predicted[:, 1] - predicted[:, 0]))[:300]
    expected = quality[:, 0].copy()
    expected[strong] = quality[strong, 1]
    assert found.quality[30] == pytest.approx(expected.mean())
    assert len(found.quality) == 101


def test_three_variants_run_from_the_cheapest_to_the_full_one() -> None:
    generator = np.random.default_rng(3)
    quality = generator.random((500, 3)) * [0.5, 0.8, 1.0]
    cost = np.tile([1.0, 4.0, 10.0], (500, 1))
    found = curve(quality, quality, cost, np.array([0.9, 0.6, 0.0]), 10.0)
    assert found.quality[0] == pytest.approx(quality[:, 0].mean())
    assert found.quality[-1] == pytest.approx(quality[:, 2].mean())
    assert found.cost[0] == pytest.approx(1.0)
    assert found.cost[-1] == pytest.approx(10.0)
    assert (apgr(found) or 0) > 1  # hindsight is better than the full model alone


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    quality = np.ones((1_000, 2))
    found = curve(quality, quality, COST, SAVED, 10.0)
    assert apgr(found) is None
    assert cpt(found, 50) is None
    assert aiq(found) == pytest.approx(1.0)
    assert saved_at(found, 0.95) == pytest.approx(0.9)


def test_aiq_is_the_height_of_the_concave_hull() -> None:
    even = np.linspace(0, 1, 101)
    straight = Curve(even, 0.5 + 0.3 * even, 1 + 9 * even, 10.0)
    assert aiq(straight) == pytest.approx(0.65)
    dented = Curve(
        even, np.where((even > 0) & (even < 1), 0.0, straight.quality), straight.cost, 10
    )
    assert aiq(dented) == pytest.approx(0.65)
