from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from weightcut.analysis.statistics import (
    Ratio,
    holm,
    mcnemar_worse,
    mean_above,
    mean_interval,
    paired_ratio,
    samples_to_decide,
    sign_flip_worse,
    spearman,
    tail,
    weighted_ratio_interval,
    wilson,
)

shares = st.floats(0, 1, allow_subnormal=False)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    k, n = counts
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n, 0.95) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_binomial_test(lost: int, gained: int) -> None:
    expected = 1.0
    if lost + gained:
        expected = stats.binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue
    assert mcnemar_worse(lost, gained) == pytest.approx(expected, rel=1e-9)


def test_holm_is_r_p_adjust() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_is_no_test() -> None:
    assert holm([0.02, None, 0.03]) == [pytest.approx(0.04), None, pytest.approx(0.04)]


@given(st.lists(shares, max_size=20))
def test_holm_lies_between_raw_and_bonferroni(p_values: list[float]) -> None:
    for raw, corrected in zip(p_values, holm(p_values), strict=True):
        assert corrected is not None
        assert raw <= corrected <= min(1.0, raw * len(p_values)) + 1e-12


def test_mean_above_is_students_t() -> None:
    kl = np.random.default_rng(0).lognormal(-2, 0.5, 40)
    expected = stats.ttest_1samp(kl - 0.1, 0, alternative="greater").pvalue
    assert mean_above(kl * 255, np.full(40, 255.0), 0.1) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("level", "expected"), [(0.2, 0.0), (0.05, 1.0)])
def test_mean_above_of_equal_windows(level: float, expected: float) -> None:
    assert mean_above(np.full(8, level * 100), np.full(8, 100.0), 0.1) == expected


def test_mean_above_needs_two_windows() -> None:
    assert mean_above(np.array([9.0]), np.array([1.0]), 0.1) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
def test_spearman_is_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert spearman(x, y) is None
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_sign_flips_of_single_answers_are_mcnemars_test() -> None:
    loss = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 50)
    assert sign_flip_worse(loss, seed=0) == pytest.approx(mcnemar_worse(9, 2), abs=0.006)


def test_sign_flips_are_scipys_permutations() -> None:
    loss = np.random.default_rng(3).normal(0.3, 1, 12)
    exact = stats.permutation_test(
        (loss,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert sign_flip_worse(loss, seed=0) == pytest.approx(exact.pvalue, abs=0.015)


def test_mean_interval_is_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).beta(2, 5, 60)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        confidence_level=1 - 2 * tail(0.95, 60),
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = mean_interval(values, 0.95, seed=0, resamples=20_000)
    assert found == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_paired_ratio_is_scipys_bootstrap_where_every_answer_changed() -> None:
    draw = np.random.default_rng(1)
    baseline = draw.beta(2, 5, 80)
    variant = np.clip(0.9 * baseline + draw.normal(0, 0.05, 80), 0, 1)
    expected = stats.bootstrap(
        (baseline, variant),
        lambda b, v, axis: v.mean(axis=axis) / b.mean(axis=axis),
        method="percentile",
        paired=True,
        vectorized=True,
        confidence_level=1 - 2 * tail(0.95, 80),
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = paired_ratio(baseline, variant, 0.95, seed=0, resamples=20_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=3e-3)


def test_tails_are_wider_for_few_samples_and_nominal_for_many() -> None:
    assert tail(0.95, 10) < 0.015 < tail(0.95, 40) < 0.025
    assert tail(0.95, 100_000) == pytest.approx(0.025, abs=1e-5)


def test_unchanged_answers_still_leave_a_doubt_that_shrinks_with_their_number() -> None:
    values = np.random.default_rng(0).beta(2, 5, 400)
    lows = [paired_ratio(values[:n], values[:n], 0.95, 0).low for n in (20, 100, 400)]
    assert lows[0] < 0.9 < lows[1] < 0.98 < lows[2] < 1  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=40), st.integers(0, 99))
def test_a_paired_ratio_lies_in_its_interval(pairs: list[tuple[float, float]], seed: int) -> None:
    b, v = (np.array(column) for column in zip(*pairs, strict=True))
    found = paired_ratio(b, v, 0.95, seed, resamples=300)
    assert found == paired_ratio(b, v, 0.95, seed, resamples=300)
    if found.value is None:
        assert b.sum() == 0
        assert found.low is None
        assert found.high is None
        assert found.reason
    elif len(b) == 1:
        assert found.low is None
        assert found.reason
    else:
        assert found.low is None or found.low <= found.value
        assert found.high is None or found.high >= found.value
        assert (found.high is None) == bool(found.reason)


def test_the_order_of_samples_does_not_matter_to_the_value() -> None:
    draw = np.random.default_rng(5)
    b, v = draw.random(50), draw.random(50)
    order = draw.permutation(50)
    assert paired_ratio(b, v, 0.95, 0).value == pytest.approx(
        paired_ratio(b[order], v[order], 0.95, 0).value
    )


def test_a_baseline_near_zero_leaves_the_ratio_unbounded_above() -> None:
    b, v = np.zeros(164), np.zeros(164)
    b[0] = v[:3] = 1.0
    found = paired_ratio(b, v, 0.95, 0)
    assert found.value == 3
    assert found.high is None
    assert "too near 0" in found.reason


def test_weighted_ratio_interval_holds_the_ratio_of_sums() -> None:
    draw = np.random.default_rng(0)
    top, bottom = draw.random(50) * 255, draw.integers(200, 256, 50).astype(float)
    ends = weighted_ratio_interval(top, bottom, 0.95, 0)
    assert ends is not None
    assert ends[0] < top.sum() / bottom.sum() < ends[1]
    assert weighted_ratio_interval(top[:1], bottom[:1], 0.95, 0) is None


@given(st.floats(0.5, 1.4), st.floats(0, 2), st.floats(0, 1.5), st.integers(2, 500))
def test_samples_to_decide_is_the_first_number_that_does(
    value: float, spread: float, unseen: float, n: int
) -> None:
    ratio = Ratio(value, 0.0, 2.0, n, spread, unseen)
    total = samples_to_decide(ratio, 0.95, 0.95, cap=50_000)

    def half(samples: int) -> float:
        variance = spread**2 / samples + 2 * (unseen / samples) ** 2
        return 1.959963984540054 * math.sqrt(variance)

    gap = abs(value - 0.95)
    if total is None:
        assert gap <= half(50_000) * (1 + 1e-9)
    else:
        assert gap >= half(total) * (1 - 1e-9)
        assert total == 1 or gap <= half(total - 1) * (1 + 1e-9)


def test_nothing_decides_an_estimate_on_the_margin() -> None:
    assert samples_to_decide(Ratio(0.95, 0.9, 1.0, 100, 0.2), 0.95, 0.95, 100_000) is None


def test_detectable_shrinks_with_the_root_of_the_samples() -> None:
    few, many = (Ratio(1, 0.9, 1.1, n, 0.4).detectable(0.95) for n in (100, 400))
    assert few == pytest.approx(0.4 / 10 * (1.959964 + 0.841621), rel=1e-5)
    assert many == pytest.approx(few / 2)  # type: ignore[operator]
