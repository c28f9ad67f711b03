from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.errors import BrokenInput, UsageError
from weightcut.metrics.likelihood import load, save, top_k, window_scores

Floats = npt.NDArray[np.float32]


def distributions(seed: int, positions: int, vocabulary: int, scale: float = 3.0) -> Floats:
    logits = np.random.default_rng(seed).normal(size=(positions, vocabulary)) * scale
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logp.astype(np.float32)


def exact_kl(p: Floats, q: Floats) -> float:
    wide = p.astype(np.float64)
    return float((np.exp(wide) * (wide - q.astype(np.float64))).sum())


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 400), st.integers(1, 60))
def test_top_k_is_the_head_of_the_sorted_row(
    seed: int, positions: int, vocabulary: int, k: int
) -> None:
    values = distributions(seed, positions, vocabulary)
    best = top_k(values, k)
    k = min(k, vocabulary)
    assert best.ids.shape == best.logp.shape == (positions, k)
    assert (np.sort(values, axis=1)[:, ::-1][:, :k] == best.logp).all()
    assert (np.take_along_axis(values, best.ids, axis=1) == best.logp).all()
    assert all(len(set(row)) == k for row in best.ids.tolist())


@given(st.lists(st.lists(st.integers(0, 2), min_size=90, max_size=90), min_size=1, max_size=3))
def test_among_equals_the_first_column_is_the_first_token(rows: list[list[int]]) -> None:
    values = -np.array(rows, dtype=np.float32)
    assert (top_k(values, 3).ids[:, 0] == values.argmax(axis=1)).all()


@given(st.integers(0, 10_000), st.sampled_from([1, 4, 30, 199, 200]))
def test_kl_is_a_lower_bound_that_is_exact_with_the_whole_vocabulary(seed: int, k: int) -> None:
    ids = np.arange(7)
    p, q = distributions(seed, 6, 200), distributions(seed + 1, 6, 200)
    scores = window_scores(q, ids, top_k(p, k))
    exact = exact_kl(p, q)
    assert -1e-6 <= scores["kl"] <= exact + 1e-4 * (1 + exact)
    if k >= 199:
        assert scores["kl"] == pytest.approx(exact, rel=1e-3)
    rest = 6 - float(np.exp(np.sort(p, axis=1)[:, ::-1][:, :k].astype(np.float64)).sum())
    assert scores["pooled"] == pytest.approx(rest, abs=1e-5)


def test_against_itself_there_is_no_divergence() -> None:
    values = distributions(3, 16, 500)
    scores = window_scores(values, np.arange(17), top_k(values, 20))
    assert scores["kl"] == pytest.approx(0, abs=1e-9)
    assert scores["agree"] == scores["tokens"] == 16


def test_nll_is_that_of_the_next_tokens() -> None:
    values = distributions(4, 3, 10)
    scores = window_scores(values, np.array([1, 2, 3, 4]))
    assert set(scores) == {"nll", "tokens", "right"}
    assert scores["nll"] == pytest.approx(-(values[0, 2] + values[1, 3] + values[2, 4]), rel=1e-6)


def test_a_very_sure_model_loses_no_digits_in_the_bucket() -> None:
    # The baseline has 1e-9 outside its top entry, the variant 1e-3: the bucket decides.
    p = np.log(np.array([[1 - 1e-9, 1e-9]])).astype(np.float32)
    q = np.log(np.array([[1 - 1e-3, 1e-3]])).astype(np.float32)
    scores = window_scores(q, np.array([0, 0]), top_k(p, 1))
    assert scores["kl"] == pytest.approx(exact_kl(p, q), abs=2e-6)


def test_the_impossible_is_infinite_and_never_nan() -> None:
    sure = np.array([[0.0, -np.inf, -np.inf]], dtype=np.float32)
    even = np.full((1, 3), -np.log(3), dtype=np.float32)
    ids = np.array([0, 1])
    assert window_scores(sure, ids, top_k(even, 2))["kl"] == np.inf
    assert window_scores(sure, ids, top_k(even, 2))["nll"] == np.inf
    assert window_scores(even, ids, top_k(sure, 2))["kl"] == pytest.approx(np.log(3), rel=1e-5)


def test_refuses_what_does_not_fit() -> None:
    values = distributions(0, 4, 10)
    with pytest.raises(UsageError, match="4 predictions for a window of 7"):
        window_scores(values, np.arange(7))
    with pytest.raises(UsageError, match="3 positions"):
        window_scores(values, np.arange(5), top_k(values[:3], 2))
    with pytest.raises(ValueError, match="k >= 1"):
        top_k(values, 0)


def test_comes_back_from_a_file(tmp_path: Path) -> None:
    best = top_k(distributions(1, 5, 40), 7)
    save(best, tmp_path / "best.npz")
    again = load(tmp_path / "best.npz")
    assert (again.ids == best.ids).all()
    assert (again.logp == best.logp).all()
    (tmp_path / "torn.npz").write_bytes((tmp_path / "best.npz").read_bytes()[:50])
    with pytest.raises(BrokenInput, match="torn"):
        load(tmp_path / "torn.npz")
    with pytest.raises(BrokenInput, match="absent"):
        load(tmp_path / "absent.npz")


def test_any_damage_to_a_file_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "best.npz"
    save(top_k(distributions(1, 5, 40), 7), path)
    whole = path.read_bytes()
    assert load(path).ids.shape == (5, 7)
    flips = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(len(whole))]
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    broken = 0
    for data in (b"", array.getvalue(), *flips):
        path.write_bytes(data)
        try:
            load(path)
        except BrokenInput:
            broken += 1
    assert broken > len(whole) / 2


def test_flips_are_positions_that_change_between_right_and_wrong() -> None:
    def sure_of(*tokens: int) -> Floats:
        return np.log(np.full((4, 5), 0.01) + 0.95 * np.eye(5)[list(tokens)]).astype(np.float32)

    ids = np.array([0, 1, 2, 3, 4])
    scores = window_scores(sure_of(1, 2, 0, 0), ids, top_k(sure_of(1, 0, 3, 1), 2))
    assert [scores[k] for k in ("right", "lost", "gained", "agree")] == [2, 1, 1, 1]
    assert window_scores(sure_of(1, 2, 3, 4), ids)["right"] == 4
