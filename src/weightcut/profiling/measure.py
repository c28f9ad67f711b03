"""Latency at batch 1, throughput under concurrency and peak memory of an open session.

Observations: `latency-<i>` for each of the different prompts, one at a time (values ttft_s, tpot_s,
latency_s, tokens, prompt_tokens; detail.token_times); `throughput-<concurrency>-<round>` (values
concurrency, tokens, seconds, cpu_s: CPU seconds of this process, and where the hardware counts
them cpu_j and gpu_j: joules of whole CPUs and GPUs, over spent_s wall seconds); `memory`
(peak_rss_bytes); `machine` (busy_before, busy_during, busy_after: share of CPU time that other
processes took). Under load: see weightcut.profiling.load.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from weightcut.errors import WeightcutError
from weightcut.profiling.energy import EnergyMeter
from weightcut.profiling.machine import OthersLoad, others_load, peak_rss_bytes, wait_until_quiet
from weightcut.records import Completion, Observation, Request

ROUNDS = 2


class Generates(Protocol):
    """Whatever answers requests: an engine's session."""

    def generate(self, requests: Sequence[Request]) -> Iterable[Completion]:
        """Answer all requests, submitted at once."""
        ...


def measure(
    session: Generates,
    requests: Sequence[Request],
    latency: int,
    concurrency: Sequence[int],
    patience: float,
) -> Iterator[Observation]:
    """Yield the raw readings of a session.

    requests: different prompts, all to be answered with the same number of tokens; the longest
    warms up first, so that an engine which makes room for what it is asked does it once. latency:
    how many of them are timed one at a time, the first left out where there are more. patience:
    seconds to wait for a quiet machine. Raises WeightcutError where a prompt gets no answer.
    """
    prompts = requests[1:] if len(requests) > latency else requests
    _answers(session, [max(requests, key=lambda request: len(request.prompt_ids))])
    before = wait_until_quiet(patience=patience)
    watch = OthersLoad()
    tokens, seconds = 0, 0.0
    energy = EnergyMeter()
    meter = Meter(energy)
    for index, request in enumerate(prompts[:latency]):
        with meter:
            observation = _one(session, request, index)
        tokens += int(observation.values["tokens"])
        seconds += observation.values["latency_s"]
        yield observation
    for level in concurrency:
        if level == 1:
            yield _throughput(1, 0, tokens, seconds, meter)
            continue
        batch = _batch(prompts, level)  # the same each time, so that rounds differ by noise alone
        # An engine may compile for shapes that it has not seen yet; that is no part of its speed.
        _answers(session, batch)
        for number in range(ROUNDS):
            with (meter := Meter(energy)):
                answers = _answers(session, batch)
            done = sum(len(answer.token_ids) for answer in answers)
            # All were submitted at once: the last token of all ends the round.
            last = max(one.token_times[-1] for one in answers)
            yield _throughput(level, number, done, last, meter)
    busy = {"busy_before": before, "busy_during": watch.share(), "busy_after": others_load()}
    yield Observation(sample="machine", values=busy)
    yield Observation(sample="memory", values={"peak_rss_bytes": float(peak_rss_bytes())})


class Meter:
    """CPU seconds, wall seconds and joules of the blocks that it is the context of, summed."""

    def __init__(self, energy: EnergyMeter) -> None:
        self._energy = energy
        self._spent = {"cpu_s": 0.0, "spent_s": 0.0}
        self._joules: dict[str, float | None] = {"cpu_j": 0.0, "gpu_j": 0.0}

    @property
    def values(self) -> dict[str, float]:
        """What was counted; energies only where the hardware counted all of them."""
        return self._spent | {k: v for k, v in self._joules.items() if v is not None}

    def __enter__(self) -> Meter:
        self._energy.start()
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._start
        self._spent["cpu_s"] += time.process_time() - cpu
        self._spent["spent_s"] += time.perf_counter() - wall
        used = self._energy.used()
        for key, more in (("cpu_j", used.cpu), ("gpu_j", used.gpu)):
            so_far = self._joules[key]
            self._joules[key] = None if so_far is None or more is None else so_far + more


def _answers(session: Generates, requests: Sequence[Request]) -> list[Completion]:
    """Return the answers, each with a token at least."""
    answers = list(session.generate(requests))
    answered = {one.request_id for one in answers if one.token_times}
    for request in requests:
        if request.id not in answered:
            raise WeightcutError(
                f"the engine gave no answer to the timed prompt {request.id} of "
                f"{len(request.prompt_ids)} tokens",
                cure="where prompts fill the engine's context, make it larger or time shorter ones",
            )
    return answers


def _one(session: Generates, request: Request, index: int) -> Observation:
    (answer,) = _answers(session, [request])
    times = answer.token_times
    gaps = len(times) - 1
    return Observation(
        sample=f"latency-{index:03d}",
        values={
            "ttft_s": times[0],
            "tpot_s": (times[-1] - times[0]) / gaps if gaps else 0.0,
            "latency_s": times[-1],
            "tokens": float(len(answer.token_ids)),
            "prompt_tokens": float(len(request.prompt_ids)),
        },
        detail={"token_times": list(times), "request": request.id},
    )


def _throughput(level: int, number: int, tokens: int, seconds: float, meter: Meter) -> Observation:
    values = {"concurrency": float(level), "tokens": float(tokens), "seconds": seconds}
    return Observation(sample=f"throughput-{level}-{number}", values=values | meter.values)


def _batch(prompts: Sequence[Request], level: int) -> list[Request]:
    picked = [prompts[i % len(prompts)] for i in range(level)]
    return [one.model_copy(update={"id": f"{one.id}-{i}"}) for i, one in enumerate(picked)]
