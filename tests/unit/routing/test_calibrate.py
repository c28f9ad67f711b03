from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightcut.routing.calibrate import (
    betting_p_values,
    calibrate,
    choose,
    grid,
    kept_and_saved,
    prompts_needed,
)


def test_p_values_are_valid_where_the_hypothesis_just_holds() -> None:
    """A level of 10% is exceeded in at most 10% of repetitions, here for a skewed loss."""
    generator = np.random.default_rng(0)
    losses = (generator.random((200, 3_000)) < 0.3).astype(float)
    p = betting_p_values(losses, 0.3, 0.1)
    assert (p <= 0.1).mean() <= 0.1
    assert (p <= 0.1).mean() > 0.005  # and they are not merely always 1


def test_p_values_reject_what_is_clearly_false() -> None:
    losses = np.full((100, 1), 0.2)
    assert betting_p_values(losses, 0.5, 0.05)[0] < 0.001
    assert betting_p_values(losses, 0.2, 0.05)[0] == 1.0
    assert betting_p_values(np.zeros((0, 2)), 0.5, 0.05).tolist() == [1.0, 1.0]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_p_values_are_probabilities(losses: list[float], limit: float) -> None:
    p = betting_p_values(np.array(losses)[:, None], limit, 0.05)
    assert 0 < p[0] <= 1


def test_allowances_move_prompts_from_the_full_model_to_lighter_ones() -> None:
    generator = np.random.default_rng(1)
    predicted = np.sort(generator.random((50, 3)), axis=1)
    saved = np.array([0.9, 0.5, 0.0])
    chosen = choose(predicted, saved, grid(predicted, saved))
    spent = (1 - saved)[chosen].mean(0)
    assert (chosen[:, 0] == 2).all()
    assert (chosen[:, -1] == 0).all()
    assert (np.diff(spent) <= 1e-12).all()


def _world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    hard = generator.random(n)
    quality = np.column_stack([generator.random(n) > hard, generator.random(n) > 0.2 * hard])
    predicted = np.column_stack([1 - hard, 1 - 0.2 * hard])
    return predicted, quality.astype(float), np.tile([1.0, 10.0], (n, 1))


def test_the_promise_holds_on_new_prompts() -> None:
    saved, kept, cheaper = np.array([0.9, 0.0]), [], []
    new_predicted, new_quality, new_cost = _world(50_000, 12_345)
    for seed in range(40):
        predicted, quality, cost = _world(1_000, seed)
        promise = calibrate(
            predicted, quality, cost, saved, np.linspace(-0.2, 1, 100), 0.9, 0.95, seed
        )
        assert promise.allowance is not None
        chosen = choose(new_predicted, saved, np.array([promise.allowance]))[:, 0]
        share, gain = kept_and_saved(chosen, new_quality, new_cost, new_cost[:, 1])
        kept.append(share)
        cheaper.append(gain)
    assert np.mean(np.array(kept) >= 0.9) >= 0.95
    assert np.mean(cheaper) > 0.2


def test_the_promise_holds_where_prompts_repeat() -> None:
    """Each of 30 prompts has 40 copies: 30 draws, not 1,200."""
    saved, allowances = np.array([0.9, 0.0]), np.linspace(-0.2, 1, 60)
    new = _world(50_000, 12_345)

    def held(seed: int, groups: np.ndarray | None) -> bool:
        predicted, quality, cost = (np.repeat(part, 40, axis=0) for part in _world(30, seed))
        promise = calibrate(
            predicted, quality, cost, saved, allowances, 0.8, 0.9, seed, groups=groups
        )
        if promise.allowance is None:
            return True
        chosen = choose(new[0], saved, np.array([promise.allowance]))[:, 0]
        return kept_and_saved(chosen, new[1], new[2], new[2][:, 1])[0] >= 0.8

    copies = np.repeat(np.arange(30), 40)
    assert np.mean([held(seed, copies) for seed in range(200)]) >= 0.95
    assert np.mean([held(seed, None) for seed in range(200)]) < 0.9


def test_a_prompt_counts_once_however_many_copies_it_has() -> None:
    predicted, quality, cost = _world(400, 0)
    saved, allowances = np.array([0.9, 0.0]), np.linspace(-0.2, 1, 60)
    once = calibrate(predicted, quality, cost, saved, allowances, 0.8, 0.9, 0)
    rows = np.repeat(np.arange(400), np.where(np.arange(400) < 5, 100, 1))
    found = calibrate(
        predicted[rows], quality[rows], cost[rows], saved, allowances, 0.8, 0.9, 0, groups=7 * rows
    )
    assert found == replace(once, kept=pytest.approx(once.kept), saved=pytest.approx(once.saved))
    assert found.prompts == 400


@pytest.mark.parametrize("n", [0, 1, 5])
def test_with_too_few_prompts_nothing_is_promised(n: int) -> None:
    predicted, quality, cost = _world(n, 0)
    promise = calibrate(
        predicted, quality, cost, np.array([0.9, 0.0]), np.linspace(-0.2, 1, 50), 0.95, 0.95, 0
    )
    assert promise.allowance is None
    assert "nothing can be promised" in promise.says


def test_a_full_model_that_is_always_wrong_promises_nothing() -> None:
    predicted, quality, cost = _world(500, 0)
    promise = calibrate(
        predicted, quality * 0, cost, np.array([0.9, 0]), np.linspace(-1, 1, 50), 0.9, 0.9, 0
    )
    assert promise.allowance is None


def test_equal_variants_send_everything_to_the_cheapest() -> None:
    predicted, cost = np.full((400, 2), 0.5), np.tile([1.0, 10.0], (400, 1))
    saved = np.array([0.9, 0.0])
    quality = np.ones((400, 2))
    promise = calibrate(predicted, quality, cost, saved, grid(predicted, saved), 0.95, 0.95, 0)
    assert promise.saved == pytest.approx(0.9)
    assert promise.kept == 1.0


def test_where_nothing_can_be_promised_the_prompts_needed_are_estimated() -> None:
    draw = np.random.default_rng(0)
    losses = np.clip(draw.normal(0.49, 0.02, (80, 1)), 0, 1)
    needed = prompts_needed(losses, 0.51, 0.05)
    assert needed is not None
    more = np.clip(draw.normal(0.49, 0.02, (needed, 1)), 0, 1)
    assert betting_p_values(losses, 0.51, 0.05)[0] > 0.05 >= betting_p_values(more, 0.51, 0.05)[0]
    assert prompts_needed(losses + 0.1, 0.51, 0.05) is None
