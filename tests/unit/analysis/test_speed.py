from __future__ import annotations

import math

import numpy as np
import pytest

from weightcut.analysis.readings import percentiles, quotient
from weightcut.analysis.speed import summarize_profile
from weightcut.records import Observation


def _observation(sample: str, **values: float) -> Observation:
    return Observation(sample=sample, values=values)


def test_percentiles_interpolate_in_milliseconds() -> None:
    found = percentiles([0.01 * i for i in range(1, 22)])
    assert found.p50 == pytest.approx(110)
    assert found.p90 == pytest.approx(190)
    assert found.p99 == pytest.approx(208)


def test_percentiles_of_nothing_and_of_broken_readings() -> None:
    assert percentiles([]).p50 is None
    assert percentiles([math.nan, 0.5]).p99 == 500


def test_throughput_is_all_tokens_over_all_seconds() -> None:
    found = summarize_profile(
        [
            _observation("throughput-8-0", concurrency=8, tokens=100, seconds=1),
            _observation("throughput-8-1", concurrency=8, tokens=100, seconds=3),
            _observation("throughput-32-0", concurrency=32, tokens=90, seconds=1),
            _observation("throughput-32-1", concurrency=32, tokens=math.nan, seconds=1),
            _observation("throughput-64-0", concurrency=64, tokens=0, seconds=0),
        ],
        {},
    )
    assert found is not None
    assert found.tokens_per_s == {"8": 50, "32": 90}
    assert found.latency_ms.p50 is None


def test_memory_is_read_from_the_observation_before_the_manifest() -> None:
    read = _observation("memory", peak_rss_bytes=7e8)
    other = _observation("latency-0", latency_s=1.0, ttft_s=0.1, tpot_s=0.01, tokens=64)
    manifest = {"peak_rss_bytes": 5}
    assert summarize_profile([read], manifest).peak_rss_bytes == 700_000_000  # type: ignore[union-attr]
    found = summarize_profile([other], manifest)
    assert found is not None
    assert (found.peak_rss_bytes, found.prompts, found.new_tokens) == (5, 1, 64)


@pytest.mark.parametrize(
    ("busy", "quiet"), [((0.01, 0.09), True), ((0.01, 0.5), False), ((0.4, 0.0), False)]
)
def test_quiet_means_quiet_before_and_after(busy: tuple[float, float], quiet: bool) -> None:
    machine = _observation("machine", busy_before=busy[0], busy_after=busy[1])
    found = summarize_profile([machine], {})
    assert found is not None
    assert found.quiet is quiet


def test_nothing_read_is_no_profile() -> None:
    assert summarize_profile([], {"peak_rss_bytes": 5}) is None


def test_quotients_without_meaning_are_none() -> None:
    assert quotient(3, 2) == 1.5
    assert quotient(3, 0) is None
    assert quotient(None, 2) is None
    assert quotient(np.float64(3), None) is None
