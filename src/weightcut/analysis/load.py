"""A variant under load: percentiles with the waiting, goodput, errors, the saturation point."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from weightcut.analysis.frames import usable
from weightcut.analysis.readings import percentiles, quotient
from weightcut.records import LoadSpec, Observation
from weightcut.records.results import Load, LoadLevel

KEEPS_UP = 0.9
"""Answers per second over arrivals per second, below which answers fall behind."""
_LEVEL = re.compile(r"^load-(open|closed)-(\d+)$")
_READ = ("arrival_s", "ttft_s", "tpot_s", "latency_s", "tokens")
_Rows = list[Mapping[str, float]]


def summarize_load(observations: Sequence[Observation], spec: LoadSpec | None) -> Load | None:
    """Return what a profile cell's readings under load say, None where there are none.

    Percentiles are over answered requests. Answers per second: answers less one over the time from
    the first to the last of them, arrivals alike, so that the length of an answer does not count.
    A rate saturates where answers come at less than 0.9 of the arrivals' rate.
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
    target = spec.model_dump(include={"ttft_ms", "tpot_ms", "latency_ms"}) if spec else {}
    return Load(
        batching=str(next(iter(heads.values())).detail.get("batching", "")),
        target=target,
        levels=levels,
        sustained_per_s=max(
            (rate for rate in kept_up if beyond is None or rate < (beyond.rate or 0)), default=None
        ),
        saturation_per_s=beyond.answers_per_s if beyond else None,
    )


def _level(name: str, head: Observation, rows: _Rows, spec: LoadSpec | None) -> LoadLevel:
    answered = [row for row in rows if all(usable(row.get(key)) for key in _READ)]
    requests, rate, clients = (head.values.get(key) for key in ("requests", "rate", "clients"))
    asked = max(len(rows), round(requests or 0) if usable(requests) else 0)
    came = sorted(row["arrival_s"] for row in answered)
    ended = sorted(row["arrival_s"] + row["latency_s"] for row in answered)
    good = [row for row in answered if spec is None or _in_time(row, spec)]
    span = ended[-1] - came[0] if ended and came else 0.0
    arriving, answering = _pace(came), _pace(ended)
    keeping = quotient(answering, arriving)
    open_loop = name.startswith("load-open")
    return LoadLevel(
        kind="open" if open_loop else "closed",
        rate=rate if usable(rate) else None,
        clients=round(clients) if clients is not None and usable(clients) else None,
        requests=asked,
        error_rate=quotient(asked - len(answered), asked),
        ttft_ms=percentiles([row["ttft_s"] for row in answered]),
        tpot_ms=percentiles([row["tpot_s"] for row in answered]),
        latency_ms=percentiles([row["latency_s"] for row in answered]),
        arrivals_per_s=arriving,
        answers_per_s=answering,
        tokens_per_s=quotient(sum(row["tokens"] for row in answered), span),
        goodput_per_s=quotient(len(good), span),
        in_time=quotient(len(good), asked),
        saturated=keeping < KEEPS_UP if open_loop and keeping is not None else None,
    )


def _pace(times: Sequence[float]) -> float | None:
    return quotient(len(times) - 1, times[-1] - times[0]) if len(times) > 1 else None


def _in_time(row: Mapping[str, float], spec: LoadSpec) -> bool:
    limits = {"ttft_s": spec.ttft_ms, "tpot_s": spec.tpot_ms, "latency_s": spec.latency_ms}
    return all(limit is None or row[name] * 1000 <= limit for name, limit in limits.items())
