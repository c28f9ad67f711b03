"""A session under load: requests that arrive over time, as at a server.

Open loop: arrivals are drawn beforehand (a Poisson process, seeded), so that slow
answers do not hold back the next question and waiting is counted in full (no coordinated omission).
Closed loop: each of so many clients asks, waits for its answer, and asks again at once.

Time is that of the server at work: where nothing is under way the clock jumps to the next arrival,
since idling tells nothing. A session that has `live` takes new requests in at every step
(continuous batching). One without it answers what has come in as a batch, and what comes meanwhile
waits for the whole of it: `LATER` says so beside the results.

Observations: `load-<open|closed>-<number>-<request>` (values level, arrival_s, and where the
request was answered ttft_s, tpot_s, latency_s, tokens; or error 1); one `load-<...>` for each level
(values rate or clients, requests; detail.batching, and detail.error where it was given up).
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from weightcut.errors import WeightcutError
from weightcut.profiling.measure import Generates
from weightcut.records import Completion, FinishReason, LoadSpec, Observation, Request

LATER = {
    "continuous": "requests that come later join those under way",
    "batches": "requests that come later wait until the batch under way is done",
}

WAVES = 4
"""Requests that each client of a closed loop asks at least: fewer tell how the server empties."""
_SPARE = 64  # tokens of cache that an engine may round up to


class Step(NamedTuple):
    """Seconds that went by, and what was answered; `token_times` count from joining."""

    seconds: float
    answers: Sequence[Completion]


class Flow(Protocol):
    """Requests under way in a session."""

    def join(self, request: Request) -> None:
        """Take a request in; its answer is begun with the next step."""
        ...

    def step(self) -> Step:
        """Go on with everything under way."""
        ...


class Advance(Protocol):
    """What a step of a live batch brought to one answer: new tokens, and why it has ended."""

    @property
    def request_id(self) -> str:
        """Whose answer it is."""
        ...

    @property
    def tokens(self) -> Sequence[Any]:
        """The new tokens."""
        ...

    @property
    def reason(self) -> FinishReason | None:
        """Why the answer has ended, None while it goes on."""
        ...


class LiveBatch(Protocol):
    """A batch that requests enter and leave (the engines' contract)."""

    def submit(self, request: Request) -> None:
        """Take a request."""
        ...

    def step(self) -> Sequence[Advance]:
        """Advance all answers by about a token."""
        ...


@runtime_checkable
class Live(Protocol):
    """A session that can answer requests as they come."""

    def live(self, slots: int, tokens: int) -> LiveBatch | None:
        """Return a batch of so many answers at a time, and so many tokens; None if it cannot."""
        ...


class Continuous:
    """A live batch as a flow; an answer's times count from its joining, on the steps' clock."""

    def __init__(self, batch: LiveBatch) -> None:
        self._batch = batch
        self._clock = 0.0
        self._joined: dict[str, float] = {}
        self._times: dict[str, list[float]] = {}

    def join(self, request: Request) -> None:
        """Submit a request."""
        self._batch.submit(request)
        self._joined[request.id], self._times[request.id] = self._clock, []

    def step(self) -> Step:
        """Make a step, and time it."""
        start = time.perf_counter()
        found = self._batch.step()
        seconds = time.perf_counter() - start
        self._clock += seconds
        answers = []
        for one in found:
            times = self._times[one.request_id]
            times += [self._clock - self._joined[one.request_id]] * len(one.tokens)
            if one.reason is not None:
                del self._times[one.request_id]
                answers.append(_completion(one, times))
        return Step(seconds, answers)


def _completion(last: Advance, times: Sequence[float]) -> Completion:
    reason = last.reason or "aborted"
    return Completion(
        request_id=last.request_id,
        text="",
        token_ids=(0,) * len(times),
        token_times=tuple(times),
        finish_reason=reason,
    )


class Batches:
    """Any session as a flow: all that have joined are answered as one batch."""

    def __init__(self, session: Generates) -> None:
        self._session = session
        self._joined: list[Request] = []

    def join(self, request: Request) -> None:
        """Put a request into the next batch."""
        self._joined.append(request)

    def step(self) -> Step:
        """Answer the batch."""
        batch, self._joined = self._joined, []
        answers = list(self._session.generate(batch))
        unanswered = {one.id for one in batch} - {one.request_id for one in answers}
        if unanswered:
            raise WeightcutError(f"the session left {len(unanswered)} requests unanswered")
        return Step(max((a.token_times[-1] for a in answers if a.token_times), default=0), answers)


@dataclass
class _Level:
    """One rate or number of clients: what has come, what is under way, what came of it."""

    kind: str
    number: int
    requests: Sequence[Request]
    waiting: deque[tuple[float, int]]
    clients: int = 0
    clock: float = 0.0
    joined: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    rows: dict[int, dict[str, float]] = field(default_factory=dict)
    asked: int = 0

    @property
    def name(self) -> str:
        return f"load-{self.kind}-{self.number}"


def under_load(
    session: Generates, requests: Sequence[Request], spec: LoadSpec, seed: int
) -> Iterator[Observation]:
    """Yield the readings of each rate, then of each number of clients.

    requests: different prompts; they are asked in turn.
    """
    flow = _flow(session, requests, spec.at_once)
    batching = LATER["continuous" if isinstance(flow, Continuous) else "batches"]
    levels = [_open(requests, spec, rate, i, seed) for i, rate in enumerate(spec.rates)]
    levels += [_closed(requests, spec, clients, i) for i, clients in enumerate(spec.clients)]
    for level in levels:
        error = _run(flow, level, spec.at_once)
        if error:
            flow = _flow(session, requests, spec.at_once)
        yield from _observations(level)
        asked = (
            {"rate": spec.rates[level.number]}
            if level.kind == "open"
            else {"clients": float(level.clients)}
        )
        detail: dict[str, Any] = {"batching": batching} | ({"error": error} if error else {})
        values = {"level": float(level.number), "requests": float(len(level.requests)), **asked}
        yield Observation(sample=level.name, values=values, detail=detail)


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Return the times of `count` arrivals of a Poisson process, from 0, exactly `rate` a second.

    Given their number, the arrivals of such a process lie uniformly; the same seed gives the same
    pattern at every rate, only denser.
    """
    draw = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    span = (count - 1) / rate
    return [0.0, *sorted(draw.random() * span for _ in range(count - 2)), span][:count]


def _open(
    requests: Sequence[Request], spec: LoadSpec, rate: float, number: int, seed: int
) -> _Level:
    times = arrivals(rate, spec.requests, seed)
    waiting = deque(zip(times, range(spec.requests), strict=True))
    return _Level("open", number, _asked(requests, spec.requests), waiting, asked=spec.requests)


def _closed(requests: Sequence[Request], spec: LoadSpec, clients: int, number: int) -> _Level:
    count = max(spec.requests, WAVES * clients)
    waiting = deque((0.0, index) for index in range(clients))
    return _Level("closed", number, _asked(requests, count), waiting, clients, asked=clients)


def _asked(requests: Sequence[Request], count: int) -> list[Request]:
    picked = (requests[index % len(requests)] for index in range(count))
    return [one.model_copy(update={"id": f"{i}"}) for i, one in enumerate(picked)]


def _flow(session: Generates, requests: Sequence[Request], at_once: int) -> Flow:
    """Return the session as a flow, warmed up; continuous batching where it can do it."""
    if isinstance(session, Live):
        needs = sorted((len(r.prompt_ids) + r.max_new_tokens for r in requests), reverse=True)
        batch = session.live(at_once, at_once * (needs[0] + _SPARE))
        if batch is not None:
            flow = Continuous(batch)
            flow.join(requests[0].model_copy(update={"id": "warm-up"}))
            while not flow.step().answers:
                pass
            return flow
    return Batches(session)


def _run(flow: Flow, level: _Level, at_once: int) -> str:
    """Let a level's requests arrive and be answered; returns why it was given up, or ""."""
    while level.waiting or level.joined:
        joining: list[Request] = []
        if not level.joined:
            level.clock = max(level.clock, level.waiting[0][0])
        while level.waiting and level.waiting[0][0] <= level.clock and len(level.joined) < at_once:
            arrival, index = level.waiting.popleft()
            request = level.requests[index]
            level.joined[request.id] = (index, arrival, level.clock)
            joining.append(request)
        try:
            for request in joining:
                flow.join(request)
            step = flow.step()
        except (WeightcutError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"[:500]
        level.clock += step.seconds
        for answer in step.answers:
            _answered(level, answer)
    return ""


def _answered(level: _Level, answer: Completion) -> None:
    index, arrival, joined = level.joined.pop(answer.request_id)
    times = answer.token_times
    if times and answer.finish_reason != "aborted":
        wait = joined - arrival
        level.rows[index] = {
            "arrival_s": arrival,
            "ttft_s": wait + times[0],
            "tpot_s": (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.0,
            "latency_s": wait + times[-1],
            "tokens": float(len(times)),
        }
    else:
        level.rows[index] = {"arrival_s": arrival, "error": 1.0}
    if level.clients and level.asked < len(level.requests):
        ended = joined + times[-1] if times else level.clock
        level.waiting = deque(sorted([*level.waiting, (ended, level.asked)]))
        level.asked += 1


def _observations(level: _Level) -> Iterator[Observation]:
    for index in range(len(level.requests)):
        row = level.rows.get(index, {"error": 1.0})
        yield Observation(
            sample=f"{level.name}-{index:04d}", values={"level": float(level.number), **row}
        )
