from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.studies import example_study

from weightcut.analysis.quality import Settings
from weightcut.analysis.results import build_results
from weightcut.analysis.speedups import speedup
from weightcut.analysis.statistics import median_ratio, tail
from weightcut.records import Observation

SETTINGS = Settings(0.95, 0)


def _timed(*seconds: float, first: int = 0) -> list[Observation]:
    return [
        Observation(sample=f"latency-{i:03d}", values={"latency_s": value})
        for i, value in enumerate(seconds, start=first)
    ]


def test_the_ratio_of_medians_is_scipys_bootstrap() -> None:
    draw = np.random.default_rng(1)
    prompt = draw.normal(0, 0.2, 30)
    slow = np.exp(prompt + draw.normal(0, 0.1, 30))
    fast = 0.4 * np.exp(prompt + draw.normal(0, 0.1, 30))
    expected = stats.bootstrap(
        (slow, fast),
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        method="percentile",
        paired=True,
        vectorized=True,
        confidence_level=1 - 2 * tail(0.95, 30),
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    found = median_ratio(slow, fast, 0.95, seed=0, resamples=20_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=0.03)
    assert found.value == pytest.approx(np.median(slow) / np.median(fast))


@pytest.mark.parametrize(("prompts", "spread"), [(20, 0.0), (20, 0.3), (24, 0.05), (8, 0.1)])
def test_a_95_percent_interval_of_a_speedup_covers_at_least_95(prompts: int, spread: float) -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        prompt = generator.normal(0, spread, prompts)
        slow, fast = np.exp(prompt + generator.normal(0, 0.05, (2, prompts)))
        found = median_ratio(2 * slow, fast, 0.95, seed=0, resamples=500)
        covered += found.low <= 2 <= found.high  # type: ignore[operator]
    assert covered / 1000 >= 0.95


def test_only_prompts_that_both_were_timed_on_count() -> None:
    slow = [*_timed(1.0, 2.0, 3.0), Observation(sample="machine", values={"busy_before": 0.1})]
    found = speedup(slow, _timed(0.5, 1.0, float("nan"), 9.0), SETTINGS)
    assert found is not None
    assert (found.value, found.n) == (2.0, 2)
    assert speedup(slow, _timed(1.0, first=7), SETTINGS) is None
    alone = speedup(slow, _timed(0.5), SETTINGS)
    assert alone is not None
    assert (alone.value, alone.low) == (2.0, None)
    assert alone.reason


def test_results_hold_both_speedups_with_their_intervals() -> None:
    results = build_results(*example_study())
    full, *_, last = results.variants
    assert full.against_baseline.latency_speedup_interval.low == 1  # type: ignore[union-attr]
    found = last.against_baseline
    assert found is not None
    for name in ("latency_speedup", "speedup_same_engine"):
        ends = getattr(found, f"{name}_interval")
        assert ends.value == pytest.approx(getattr(found, name))
        assert ends.low < ends.value < ends.high
        assert ends.n == 24
