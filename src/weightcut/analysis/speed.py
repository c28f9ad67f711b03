"""Speed, memory and size of a variant from its raw readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from weightcut.analysis.frames import usable
from weightcut.records import Observation
from weightcut.records.results import Percentiles, Profile

QUIET = 0.10
"""Share of the machine's CPU that others may use while it still counts as quiet."""


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Return p50, p90 and p99 in milliseconds.

    Linear interpolation between order statistics (numpy's default, type 7 of Hyndman and Fan 1996);
    with few readings p99 is close to the largest.
    """
    finite = [value for value in seconds if usable(value)]
    if not finite:
        return Percentiles(p50=None, p90=None, p99=None)
    p50, p90, p99 = (1000 * float(q) for q in np.percentile(finite, [50, 90, 99]))
    return Percentiles(p50=p50, p90=p90, p99=p99)


def summarize_profile(
    observations: Sequence[Observation], manifest: Mapping[str, Any]
) -> Profile | None:
    """Return the summary of one profile cell, None where nothing was read.

    tokens_per_s: all tokens over all seconds of a concurrency's rounds. quiet: whether other
    processes used at most a tenth of the CPU before and after (None where that was not read).
    """
    if not observations:
        return None
    answers = [o.values for o in observations if o.sample.startswith("latency-")]
    return Profile(
        ttft_ms=percentiles(_column(answers, "ttft_s")),
        tpot_ms=percentiles(_column(answers, "tpot_s")),
        latency_ms=percentiles(_column(answers, "latency_s")),
        tokens_per_s=_throughput(observations),
        peak_rss_bytes=_peak_rss(observations, manifest),
        prompts=len(answers),
        new_tokens=round(max(_column(answers, "tokens"), default=0)),
        quiet=_quiet(observations),
    )


def _column(rows: Iterable[Mapping[str, float]], name: str) -> list[float]:
    return [row[name] for row in rows if usable(row.get(name))]


def _throughput(observations: Iterable[Observation]) -> dict[str, float]:
    tokens: dict[int, float] = {}
    seconds: dict[int, float] = {}
    for observation in observations:
        if not observation.sample.startswith("throughput-"):
            continue
        values = [observation.values.get(k, -1.0) for k in ("concurrency", "tokens", "seconds")]
        if not all(usable(value) and value >= 0 for value in values):
            continue
        concurrency = round(values[0])
        tokens[concurrency] = tokens.get(concurrency, 0.0) + values[1]
        seconds[concurrency] = seconds.get(concurrency, 0.0) + values[2]
    return {str(c): tokens[c] / seconds[c] for c in sorted(tokens) if seconds[c] > 0}


def _peak_rss(observations: Iterable[Observation], manifest: Mapping[str, Any]) -> int | None:
    read = _column((o.values for o in observations), "peak_rss_bytes")
    stated = manifest.get("peak_rss_bytes")
    if not read and isinstance(stated, int | float) and usable(stated):
        read = [float(stated)]
    return round(max(read)) if read else None


def _quiet(observations: Iterable[Observation]) -> bool | None:
    busy = [
        value
        for o in observations
        if o.sample == "machine"
        for name, value in o.values.items()
        if name in ("busy_before", "busy_after") and usable(value)
    ]
    return max(busy) <= QUIET if busy else None


def quotient(top: float | None, bottom: float | None) -> float | None:
    """Return top / bottom, None where either is missing or the quotient has no meaning."""
    if top is None or bottom is None or bottom <= 0 or top < 0:
        return None
    return top / bottom
