"""A variant under load: percentiles with the waiting, goodput, errors, the saturation point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from weightcut.analysis.frames import usable
from weightcut.analysis.readings import percentiles, quotient
from weightcut.records import LoadSpec, Observation
from weightcut.records.results import Load, LoadLevel

KEEPS_UP = 0.9
"""Answers for each arrival below which a rate saturates."""
_SETTLING = 0.25  # share of the arrivals' time that is left out while the queue forms
_LONG = 3  # median latencies that arrivals must go on for
_FEWEST = 8  # requests from which on a slope means something
_LEVEL = re.compile(r"^load-(open|closed)-(\d+)$")
_READ = ("arrival_s", "ttft_s", "tpot_s", "latency_s", "tokens")
_Rows = list[Mapping[str, float]]


def summarize_load(observations: Sequence[Observation], spec: LoadSpec | None) -> Load | None:
    """Return what a profile cell's readings under load say, None where there are none.

    Percentiles are over answered requests. Answers per second: over the time from the first arrival
    to the last answer. Where answers fall behind, the latency grows with the time of arrival, by
    a/c - 1 seconds a second for arrivals at rate a and capacity c: that slope (least squares) tells
    c, and a rate saturates where c is less than 0.9 of it. That answers keep up is not told from
    arrivals over less than three times the median latency: the queue had no time to show.
    """
    heads = {o.sample: o for o in observations if _LEVEL.match(o.sample)}
    rows: dict[str, _Rows] = {name: [] for name in heads}
    for one in observations:
        name = one.sample.rpartition("-")[0]
        if name in rows:
            rows[name].append(one.values)
    levels = [_level(name, head, rows[name], spec) for name, head in heads.items()]
    if not levels:
        return None
    levels.sort(key=lambda level: (level.kind == "closed", level.rate or level.clients or 0))
    opened = [level for level in levels if level.rate is not None]
    kept_up = [level.rate for level in opened if level.rate and level.saturated is False]
    beyond = next((level for level in opened if level.saturated), None)
    capacity = _capacity(beyond) if beyond else None
    target = spec.model_dump(include={"ttft_ms", "tpot_ms", "latency_ms"}) if spec else {}
    return Load(
        batching=str(next(iter(heads.values())).detail.get("batching", "")),
        target=target,
        levels=levels,
        sustained_per_s=max(
            (rate for rate in kept_up if capacity is None or rate * KEEPS_UP <= capacity),
            default=None,
        ),
        saturation_per_s=capacity,
    )


def _level(name: str, head: Observation, rows: _Rows, spec: LoadSpec | None) -> LoadLevel:
    answered = [row for row in rows if all(usable(row.get(key)) for key in _READ)]
    requests, rate, clients = (head.values.get(key) for key in ("requests", "rate", "clients"))
    asked = max(len(rows), round(requests or 0) if usable(requests) else 0)
    came = sorted(row["arrival_s"] for row in answered)
    ended = sorted(row["arrival_s"] + row["latency_s"] for row in answered)
    good = [row for row in answered if spec is None or _in_time(row, spec)]
    error = str(head.detail.get("error", "")) or None
    # Of a level that was given up only what was quick is known: no rate can be told from that.
    span = ended[-1] - came[0] if ended and came and not error else 0.0
    open_loop = name.startswith("load-open")
    keeping = _keeping_up(answered) if open_loop and not error else None
    return LoadLevel(
        kind="open" if open_loop else "closed",
        rate=rate if usable(rate) else None,
        clients=round(clients) if clients is not None and usable(clients) else None,
        requests=asked,
        error_rate=quotient(asked - len(answered), asked),
        ttft_ms=percentiles([row["ttft_s"] for row in answered]),
        tpot_ms=percentiles([row["tpot_s"] for row in answered]),
        latency_ms=percentiles([row["latency_s"] for row in answered]),
        arrivals_per_s=_pace(came),
        answers_per_s=quotient(len(answered), span),
        tokens_per_s=quotient(sum(row["tokens"] for row in answered), span),
        goodput_per_s=quotient(len(good), span),
        in_time=quotient(len(good), asked),
        keeping_up=keeping,
        saturated=None if keeping is None else keeping < KEEPS_UP,
        error=error,
    )


def _capacity(level: LoadLevel) -> float | None:
    if level.arrivals_per_s is None or level.keeping_up is None:
        return None
    return level.arrivals_per_s * level.keeping_up


def _keeping_up(answered: _Rows) -> float | None:
    """Return capacity over arrivals as the growth of the latency tells it, at most 1.

    None where too few requests came, or in too short a time.
    """
    times = np.array([row["arrival_s"] for row in answered])
    settled = times >= _SETTLING * times.max(initial=0.0)
    if settled.sum() < _FEWEST or np.ptp(times[settled]) <= 0:
        return None
    latencies = np.array([row["latency_s"] for row in answered])
    slope = float(np.polyfit(times[settled], latencies[settled], 1)[0])
    share = 1 / (1 + max(0.0, slope))
    if share >= KEEPS_UP and np.ptp(times) < _LONG * np.median(latencies):
        return None
    return share


def _pace(times: Sequence[float]) -> float | None:
    return quotient(len(times) - 1, times[-1] - times[0]) if len(times) > 1 else None


def _in_time(row: Mapping[str, float], spec: LoadSpec) -> bool:
    limits = {"ttft_s": spec.ttft_ms, "tpot_s": spec.tpot_ms, "latency_s": spec.latency_ms}
    return all(limit is None or row[name] * 1000 <= limit for name, limit in limits.items())
