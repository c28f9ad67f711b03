"""What an answer costs: time, energy, carbon and money, and the same for an accepted answer.

Everything follows from the throughput rounds of the profile (docs/cost.md has the formulas): what
a round took, over its answers, stretched to the length that answers have in the benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from weightcut.analysis.frames import usable
from weightcut.analysis.readings import quotient
from weightcut.records import Cell, Observation, Prices
from weightcut.records.results import BatchCost, Cost, Hours, Interval, Profile

JOULES_PER_KWH = 3.6e6
_SUMMED = ("tokens", "seconds", "cpu_s", "spent_s", "cpu_j", "gpu_j")
Energy = Literal["counters", "estimate", "mixed"]


@dataclass(frozen=True)
class Answers:
    """The answers whose cost is asked for: a task's, their mean tokens, the share that passes."""

    task: str = ""
    tokens: float | None = None
    accepted: Interval | None = None


def answers_of(tasks: Mapping[str, Mapping[str, Any]], primary: str | None) -> Answers:
    """Return the answers of the primary task, or of the first task that has tests to pass."""
    order = [primary, *tasks] if primary in tasks else list(tasks)
    for name in order:
        figures = tasks.get(name or "", {})
        passed = figures.get("pass@1")
        if passed is not None and usable(figures.get("tokens")):
            return Answers(name or "", figures["tokens"], Interval.model_validate(passed))
    return Answers()


def cost_of(
    answers: Answers,
    profile: Profile | None,
    readings: Sequence[Observation],
    cells: Iterable[Cell],
    prices: Prices,
) -> Cost | None:
    """Return what a variant costs, None where nothing of it is known.

    readings: the observations of its profile cell. cells: all of its cells.
    """
    known = list(cells)
    on_gpu = any(_number(cell, "gpus_held") for cell in known if cell.key.stage == "profile")
    rounds = _rounds(readings)
    at = {}
    if profile is not None and profile.new_tokens:
        length = answers.tokens or float(profile.new_tokens)
        for concurrency, spent in rounds.items():
            at[str(concurrency)] = _batch(spent, length, answers, profile, prices, on_gpu)
    hours = _hours(known)
    if not at and not hours:
        return None
    return Cost(
        task=answers.task,
        accepted=answers.accepted,
        tokens_per_answer=answers.tokens,
        at=at,
        hours=hours,
    )


def _rounds(readings: Iterable[Observation]) -> dict[int, dict[str, float]]:
    """Return what all rounds of each concurrency took together; a part unknown of one is left."""
    rounds: dict[int, list[Mapping[str, float]]] = {}
    for one in readings:
        level = one.values.get("concurrency")
        if one.sample.startswith("throughput-") and level is not None and usable(level):
            rounds.setdefault(round(level), []).append(one.values)
    return {
        level: {
            key: sum(row[key] for row in rows)
            for key in _SUMMED
            if all(usable(row.get(key)) and row[key] >= 0 for row in rows)
        }
        for level, rows in sorted(rounds.items())
    }


def _batch(
    spent: Mapping[str, float],
    length: float,
    answers: Answers,
    profile: Profile,
    prices: Prices,
    on_gpu: bool,
) -> BatchCost:
    count = spent.get("tokens", 0.0) / profile.new_tokens

    def each(total: float | None) -> float | None:
        share = quotient(total, count)
        return None if share is None else share * _stretch(profile, length)

    seconds = each(spent.get("seconds"))
    joules, energy = _joules(spent, prices, on_gpu)
    per_answer = each(joules)
    money = (
        seconds / 3600 * prices.machine_per_hour
        if seconds is not None and prices.machine_per_hour is not None
        else None
    )
    carbon = (
        per_answer / JOULES_PER_KWH * prices.grid_g_per_kwh
        if per_answer is not None and prices.grid_g_per_kwh is not None
        else None
    )
    return BatchCost(
        seconds_per_answer=seconds,
        cpu_seconds_per_answer=each(spent.get("cpu_s")),
        joules_per_answer=per_answer,
        joules_per_token=quotient(per_answer, length),
        energy=energy if per_answer is not None else None,
        co2_g_per_1000_answers=None if carbon is None else 1000 * carbon,
        money_per_1000_answers=None if money is None else 1000 * money,
        money_per_million_tokens=quotient(None if money is None else 1e6 * money, length),
        joules_per_accepted=per_accepted(per_answer, answers.accepted),
        money_per_accepted=per_accepted(money, answers.accepted),
    )


def _stretch(profile: Profile, length: float) -> float:
    """Return how many times as long an answer of `length` tokens takes as a timed one.

    From the medians at batch 1: the first token, then a time for each further one.
    """
    first, further = profile.ttft_ms.p50, profile.tpot_ms.p50
    if first is None or further is None or first + further <= 0:
        return length / profile.new_tokens
    timed = first + further * (profile.new_tokens - 1)
    return (first + further * max(0.0, length - 1)) / timed


def _joules(
    spent: Mapping[str, float], prices: Prices, on_gpu: bool
) -> tuple[float | None, Energy | None]:
    """Return the energy of the rounds and how it is known; None where a part of it is not."""
    cpu, gpu = spent.get("cpu_j"), spent.get("gpu_j")
    if on_gpu and gpu is None:
        return None, None
    if cpu is not None:
        return cpu + (gpu or 0.0 if on_gpu else 0.0), "counters"
    if "cpu_s" not in spent:
        return None, None
    estimate = spent["cpu_s"] * prices.watts_per_core
    estimate += spent.get("spent_s", spent.get("seconds", 0.0)) * prices.idle_watts
    return (estimate + (gpu or 0.0), "mixed") if on_gpu else (estimate, "estimate")


def per_accepted(cost: float | None, accepted: Interval | None) -> Interval | None:
    """Return the cost of an answer over the share of accepted ones, with that share's interval."""
    if cost is None or accepted is None or accepted.value is None:
        return None
    if accepted.value <= 0:
        low = quotient(cost, accepted.high)
        return Interval(value=None, low=low, n=accepted.n, reason="no answer was accepted")
    return Interval(
        value=cost / accepted.value,
        low=quotient(cost, accepted.high),
        high=quotient(cost, accepted.low),
        n=accepted.n,
        reason="" if accepted.low else "the share of accepted answers may be 0",
    )


def _hours(cells: Sequence[Cell]) -> dict[str, Hours]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if usable(cell.seconds) and cell.seconds > 0:
            found.setdefault(cell.key.stage, []).append(cell)
    return {
        stage: Hours(
            wall=sum(cell.seconds for cell in of_stage) / 3600,
            cpu=_total([_number(cell, "cpu_seconds") for cell in of_stage]),
            gpu=_total([_gpu_seconds(cell) for cell in of_stage]),
        )
        for stage, of_stage in found.items()
    }


def _gpu_seconds(cell: Cell) -> float | None:
    held = _number(cell, "gpus_held")
    return None if held is None else held * (_number(cell, "seconds") or cell.seconds)


def _total(seconds: Sequence[float | None]) -> float | None:
    known = [one for one in seconds if one is not None]
    return sum(known) / 3600 if len(known) == len(seconds) else None


def _number(cell: Cell, name: str) -> float | None:
    value = cell.manifest.get(name)
    return float(value) if isinstance(value, int | float) and usable(value) else None
