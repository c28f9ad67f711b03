from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.metrics.passk import pass_at_k


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 300))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(counts())
def test_is_the_product_formula_of_the_paper(case: tuple[int, int, int]) -> None:
    n, c, k = case
    misses = math.prod(1 - k / i for i in range(n - c + 1, n + 1)) if n - c >= k else 0.0
    assert pass_at_k(n, c, k) == pytest.approx(1 - misses, abs=1e-9)


@given(counts())
def test_is_a_probability_that_grows_with_k(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert 0 <= pass_at_k(n, c, 1) <= pass_at_k(n, c, k) <= 1
    assert pass_at_k(n, c, 1) == pytest.approx(c / n)


def test_the_mean_over_all_draws_is_the_estimate() -> None:
    from itertools import combinations

    right = [True, True, False, False, False]
    draws = list(combinations(right, 2))
    assert pass_at_k(5, 2, 2) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 6), (5, 2, 0), (0, 0, 1)])
def test_refuses_counts_that_cannot_be(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=r"cannot be|needs at least"):
        pass_at_k(n, c, k)
