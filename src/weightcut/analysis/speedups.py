"""How much faster a variant answers, with an interval over the prompts that both were timed on."""

from __future__ import annotations

from collections.abc import Iterable

from weightcut.analysis.frames import shared, usable
from weightcut.analysis.quality import Settings
from weightcut.analysis.statistics import median_ratio
from weightcut.records import Observation
from weightcut.records.results import Interval


def speedup(
    slower: Iterable[Observation], faster: Iterable[Observation], settings: Settings
) -> Interval | None:
    """Return the ratio of two profiles' median latencies at batch 1, paired by prompt.

    The interval tells how far the choice of prompts, and the noise from one reading to the next,
    move the ratio; it knows nothing of what moves all readings of a variant alike, such as another
    process or a throttled CPU. None where no prompt was timed on both.
    """
    top, bottom = shared(_latencies(slower), _latencies(faster))
    found = median_ratio(top, bottom, settings.confidence, settings.seed)
    if found.value is None:
        return None
    return Interval(
        value=found.value, low=found.low, high=found.high, n=found.n, reason=found.reason
    )


def _latencies(observations: Iterable[Observation]) -> dict[str, float]:
    return {
        one.sample: value
        for one in sorted(observations, key=lambda one: one.sample)
        if one.sample.startswith("latency-")
        and usable(value := one.values.get("latency_s", -1.0))
        and value > 0
    }
