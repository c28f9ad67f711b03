"""Speed, memory and size of a variant from its raw readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from weightcut.analysis.frames import usable
from weightcut.analysis.load import summarize_load
from weightcut.analysis.readings import percentiles, quotient
from weightcut.records import LoadSpec, Observation
from weightcut.records.results import Profile

QUIET = 0.10
"""Share of the machine's CPU that others may use while it still counts as quiet."""
STEADY = 0.15
"""Relative spread of repeated readings from which on a timing is not to be trusted."""
_BUSY = ("busy_before", "busy_during", "busy_after", "busy_under_load")


def summarize_profile(
    observations: Sequence[Observation],
    manifest: Mapping[str, Any],
    load: LoadSpec | None = None,
) -> Profile | None:
    """Return the summary of one profile cell, None where nothing was read.

    tokens_per_s: all tokens over all seconds of a concurrency's rounds. quiet: whether other
    processes used at most a tenth of the CPU before, while and after it was timed (None where that
    was not read). variation: the larger of the spread of throughputs among the rounds of a
    concurrency (their range over their mean) and of times per token among the answers (half the
    range between their quartiles over their median).
    """
    if not observations:
        return None
    answers = [o.values for o in observations if o.sample.startswith("latency-")]
    busy = _busy(observations)
    return Profile(
        ttft_ms=percentiles(_column(answers, "ttft_s")),
        tpot_ms=percentiles(_column(answers, "tpot_s")),
        latency_ms=percentiles(_column(answers, "latency_s")),
        tokens_per_s=_throughput(observations),
        peak_rss_bytes=_peak_rss(observations, manifest),
        prompts=len(answers),
        new_tokens=round(max(_column(answers, "tokens"), default=0)),
        quiet=max(busy.values()) <= QUIET if busy else None,
        busy=busy,
        variation=_variation(observations, _column(answers, "tpot_s")),
        load=summarize_load(observations, load),
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


def _busy(observations: Iterable[Observation]) -> dict[str, float]:
    return {
        name.removeprefix("busy_"): value
        for o in observations
        if o.sample in ("machine", "machine-load")
        for name, value in o.values.items()
        if name in _BUSY and usable(value)
    }


def _variation(observations: Iterable[Observation], tpot: Sequence[float]) -> float | None:
    rounds: dict[float, list[float]] = {}
    for one in observations:
        values = [one.values.get(key) for key in ("concurrency", "tokens", "seconds")]
        if one.sample.startswith("throughput-"):
            rate = quotient(values[1], values[2]) if all(map(usable, values)) else None
            if rate is not None and values[0] is not None:
                rounds.setdefault(values[0], []).append(rate)
    found = [
        quotient(max(rates) - min(rates), sum(rates) / len(rates))
        for rates in rounds.values()
        if len(rates) > 1
    ]
    if len(tpot) > 3:
        low, middle, high = np.percentile(tpot, [25, 50, 75])
        found.append(quotient(float(high - low) / 2, float(middle)))
    return max((spread for spread in found if spread is not None), default=None)


def timing_doubts(profile: Profile | None) -> list[str]:
    """Return why a profile's timings are not to be trusted, in words; nothing where they are."""
    if profile is None:
        return []
    doubts = []
    if profile.quiet is False:
        most = max(profile.busy.values(), default=None)
        share = "" if most is None else f" (others took up to {most:.0%} of the CPU)"
        doubts.append(f"the machine was busy while it was timed{share}")
    if profile.variation is not None and profile.variation > STEADY:
        doubts.append(f"repeated timings differ by {profile.variation:.0%}")
    doubts += profile.unlike
    return doubts
