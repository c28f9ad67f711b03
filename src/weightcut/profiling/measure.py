"""Latency at batch 1, throughput under concurrency and peak memory of an open session.

Observations: `latency-<i>` for each of the different prompts, one at a time (values ttft_s, tpot_s,
latency_s, tokens, prompt_tokens; detail.token_times); `throughput-<concurrency>-<round>` (values
concurrency, tokens, seconds); `memory` (peak_rss_bytes); `machine` (busy_before, busy_during,
busy_after: share of CPU time that other processes took).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from weightcut.profiling.machine import OthersLoad, others_load, peak_rss_bytes, wait_until_quiet
from weightcut.records import Completion, Observation, Request

ROUNDS = 2


class Generates(Protocol):
    """Whatever answers requests: an engine's session."""

    def generate(self, requests: Sequence[Request]) -> Iterable[Completion]:
        """Answer all requests, submitted at once."""
        ...


def measure(
    session: Generates, requests: Sequence[Request], latency: int, concurrency: Sequence[int]
) -> Iterator[Observation]:
    """Yield the raw readings of a session.

    requests: different prompts, all to be answered with the same number of tokens; the first one
    only warms up. latency: how many of the others are timed one at a time.
    """
    warm_up, prompts = requests[0], requests[1:]
    list(session.generate([warm_up]))
    before = wait_until_quiet()
    watch = OthersLoad()
    tokens, seconds = 0, 0.0
    for index, request in enumerate(prompts[:latency]):
        observation = _one(session, request, index)
        tokens += int(observation.values["tokens"])
        seconds += observation.values["latency_s"]
        yield observation
    for level in concurrency:
        if level == 1:
            yield _throughput(1, 0, tokens, seconds)
            continue
        for number in range(ROUNDS):
            batch = _batch(prompts, level, number)
            answers = list(session.generate(batch))
            done = sum(len(answer.token_ids) for answer in answers)
            # All were submitted at once: the last token of all ends the round.
            yield _throughput(level, number, done, max(one.token_times[-1] for one in answers))
    busy = {"busy_before": before, "busy_during": watch.share(), "busy_after": others_load()}
    yield Observation(sample="machine", values=busy)
    yield Observation(sample="memory", values={"peak_rss_bytes": float(peak_rss_bytes())})


def _one(session: Generates, request: Request, index: int) -> Observation:
    (answer,) = session.generate([request])
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


def _throughput(level: int, number: int, tokens: int, seconds: float) -> Observation:
    values = {"concurrency": float(level), "tokens": float(tokens), "seconds": seconds}
    return Observation(sample=f"throughput-{level}-{number}", values=values)


def _batch(prompts: Sequence[Request], level: int, number: int) -> list[Request]:
    picked = [prompts[(number * level + i) % len(prompts)] for i in range(level)]
    return [one.model_copy(update={"id": f"{one.id}-{i}"}) for i, one in enumerate(picked)]
