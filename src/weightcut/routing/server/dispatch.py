"""One call, tried on one upstream after the other until it is answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter

from weightcut.routing.server.calls import Call, Chunk
from weightcut.routing.server.config import Retries, Timeouts
from weightcut.routing.server.pool import Endpoint, Pool
from weightcut.routing.server.problems import Problem
from weightcut.routing.server.upstreams.upstream import CallRefused, PromptTooLong, UpstreamError


@dataclass
class Attempt:
    """One try. outcome: ok, or why not. begun, first, ended: seconds of `time.perf_counter`."""

    variant: str
    upstream: str
    begun: float
    outcome: str = "running"
    first: float | None = None
    ended: float | None = None


@dataclass
class Trail:
    """What became of a call."""

    attempts: list[Attempt] = field(default_factory=list)

    @property
    def variant(self) -> str | None:
        """The variant that answered last, or while none has, that of the last try."""
        answered = [attempt for attempt in self.attempts if attempt.outcome == "ok"]
        found = answered or self.attempts
        return found[-1].variant if found else None


_REFUSED = ("too_long", "refused")
"""Outcomes that are the request's own."""


class _Skipped(Exception):
    """The breaker has opened while the call waited for a slot."""


class Dispatcher:
    """Tries a call on the variants in the order given: time-outs, pauses, breakers, slots."""

    def __init__(self, pool: Pool, timeouts: Timeouts, retries: Retries) -> None:
        self._pool, self._timeouts, self._retries = pool, timeouts, retries
        self._random = random.Random()  # noqa: S311 - jitter, no secret

    def deadline(self) -> float:
        """Return when an answer that is asked for now must be there, by the loop's clock."""
        return asyncio.get_running_loop().time() + self._timeouts.total_s

    async def stream(
        self,
        call: Call,
        order: Sequence[str],
        trail: Trail,
        *,
        hold: bool,
        deadline: float | None = None,
    ) -> AsyncGenerator[Chunk]:
        """Yield the answer in pieces.

        hold: give nothing on before an answer is whole, so that a failed one can be dropped. Else
        an answer that breaks off is continued by the next upstream that can. deadline: where it has
        begun before. Problem: nobody could.
        """
        deadline = self.deadline() if deadline is None else deadline
        rest, refusal = call, None
        before = len(trail.attempts)
        for endpoint in self._candidates(order, trail):
            if rest.sofar and not endpoint.upstream.continues:
                continue
            tries = len(trail.attempts) - before
            if tries and not await self._pause(tries, deadline):
                break
            kept: list[Chunk] = []
            given, count = [rest.sofar], 0
            try:
                async with aclosing(self._attempt(endpoint, rest, deadline, trail)) as chunks:
                    async for chunk in chunks:
                        if hold:
                            kept.append(chunk)
                        else:
                            given.append(chunk.text)
                            count += chunk.made
                            yield chunk
                for chunk in kept:
                    yield chunk
                return
            except _Skipped:
                continue
            except (PromptTooLong, CallRefused) as error:
                refusal = refusal or error
            except UpstreamError:
                rest = replace(rest, sofar="".join(given), max_tokens=rest.max_tokens - count)
                if rest.max_tokens <= 0:
                    yield Chunk(finish="length")
                    return
        raise _failure(refusal, call, order, trail)

    def _candidates(self, order: Sequence[str], trail: Trail) -> Iterator[Endpoint]:
        """Yield what may be tried next; an upstream that refused a call is not asked again."""
        clock = asyncio.get_running_loop().time
        for _ in range(self._retries.rounds):
            for variant in order:
                for endpoint in self._pool.by_load(variant):
                    refused = any(
                        a.upstream == endpoint.name and a.outcome in _REFUSED
                        for a in trail.attempts
                    )
                    if not refused and endpoint.breaker.state(clock()) != "open":
                        yield endpoint

    async def _pause(self, tries: int, deadline: float) -> bool:
        """Sleep before a retry, with full jitter; False where no time is left."""
        retries = self._retries
        mean = min(retries.base_s * 2 ** min(tries - 1, 16), retries.longest_s)
        pause = self._random.uniform(0, 2 * mean)
        if asyncio.get_running_loop().time() + pause >= deadline:
            return False
        await asyncio.sleep(pause)
        return True

    async def _attempt(
        self, endpoint: Endpoint, call: Call, deadline: float, trail: Trail
    ) -> AsyncGenerator[Chunk]:
        """Yield one upstream's answer, once it has a slot for it."""
        clock = asyncio.get_running_loop().time
        endpoint.users += 1
        try:
            await _slot(endpoint, deadline)
            try:
                token = endpoint.breaker.allow(clock())
                if token is None:
                    raise _Skipped
                attempt = Attempt(endpoint.variant, endpoint.name, perf_counter())
                trail.attempts.append(attempt)
                judged = self._judged(endpoint, call, deadline, attempt, token)
                async with aclosing(judged) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                endpoint.slots.release()
        finally:
            endpoint.users -= 1

    async def _judged(
        self, endpoint: Endpoint, call: Call, deadline: float, attempt: Attempt, token: int
    ) -> AsyncGenerator[Chunk]:
        """Yield the answer, and tell the breaker whether the upstream is well.

        What says nothing of that: a client that left, an upstream that is merely busy.
        """
        clock = asyncio.get_running_loop().time
        well: bool | None = None
        attempt.outcome = "abandoned"
        try:
            async with aclosing(self._timed(endpoint, call, deadline)) as chunks:
                async for chunk in chunks:
                    if attempt.first is None and chunk.made:
                        attempt.first = perf_counter()
                    if chunk.finish:
                        # Before it is handed on: whoever takes the last piece may not come back.
                        attempt.outcome, attempt.ended, well = "ok", perf_counter(), True
                    yield chunk
        except UpstreamError as error:
            attempt.outcome = error.why
            well = None if error.why == "overloaded" else False
            raise
        except (PromptTooLong, CallRefused) as error:
            attempt.outcome = "too_long" if isinstance(error, PromptTooLong) else "refused"
            well = True
            raise
        except Problem:
            attempt.outcome = "deadline"
            raise
        finally:
            attempt.ended = attempt.ended or perf_counter()
            if well is None:
                endpoint.breaker.release(token)
            else:
                endpoint.breaker.record(token, well, clock())

    async def _timed(
        self, endpoint: Endpoint, call: Call, deadline: float
    ) -> AsyncGenerator[Chunk]:
        """Yield the answer, each piece in its time; one without an end is an error."""
        clock = asyncio.get_running_loop().time
        patience = self._timeouts.first_token_s
        stream = endpoint.upstream.stream(call)
        try:
            while True:
                until = clock() + patience
                try:
                    async with asyncio.timeout_at(min(until, deadline)):
                        chunk = await anext(stream)
                except TimeoutError:
                    if deadline < until:
                        raise _late() from None
                    message = f"{endpoint.name} gave no token for {patience:g} s"
                    raise UpstreamError("timeout", message) from None
                except StopAsyncIteration:
                    raise UpstreamError("transport", "the answer has no end") from None
                yield chunk
                if chunk.finish:
                    return
                if chunk.made:
                    patience = self._timeouts.token_s
        finally:
            await stream.aclose()


async def _slot(endpoint: Endpoint, deadline: float) -> None:
    """Take a slot of the upstream, waiting for one until the deadline."""
    if not endpoint.slots.locked():
        await endpoint.slots.acquire()
        return
    try:
        async with asyncio.timeout_at(deadline):
            await endpoint.slots.acquire()
    except TimeoutError:
        raise _late() from None


def _late() -> Problem:
    return Problem(504, "the answer was not there in time", code="timeout", retry_after=5)


def _failure(refusal: Exception | None, call: Call, order: Sequence[str], trail: Trail) -> Problem:
    """Return what the client is told when no upstream has answered.

    The request is at fault only where every variant has refused it; else one may answer later.
    """
    asked = {attempt.variant for attempt in trail.attempts}
    if asked >= set(order) and all(a.outcome in _REFUSED for a in trail.attempts):
        if isinstance(refusal, PromptTooLong):
            code, param = "context_length_exceeded", "messages" if call.messages else "prompt"
            return Problem(400, str(refusal), code=code, param=param, quotes=True)
        return Problem(400, str(refusal), code="refused_by_upstream", quotes=True)
    said = ", ".join(f"{a.upstream}: {a.outcome}" for a in trail.attempts)
    message = f"no upstream could answer ({said})" if said else "no upstream is healthy"
    if trail.attempts and all(a.outcome == "overloaded" for a in trail.attempts):
        return Problem(429, "all upstreams are overloaded", code="overloaded", retry_after=2)
    timed_out = any(a.outcome == "timeout" for a in trail.attempts)
    status = 504 if timed_out else 503
    return Problem(status, message, code="no_upstream", retry_after=5)
