"""Decide, dispatch, judge, account: the server without HTTP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from weightcut.errors import UsageError, nearest
from weightcut.routing.router import Decision, Router
from weightcut.routing.server.admission import Admission
from weightcut.routing.server.calls import Call, Chunk, Finish, TokenLogprob
from weightcut.routing.server.config import Price, ServeConfig
from weightcut.routing.server.dispatch import Dispatcher, Trail
from weightcut.routing.server.pool import Pool
from weightcut.routing.server.problems import Problem
from weightcut.routing.server.schema import AUTO
from weightcut.routing.server.upstreams.upstream import CallRefused
from weightcut.routing.signals import read_signals

_LONG = 16_384
"""Characters of a prompt beyond which it is read in a thread, so that others need not wait."""
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Plan:
    """Who is to answer. order: the variants to try. by: what chose the first of them."""

    order: tuple[str, ...]
    by: Literal["router", "name"]
    reason: str
    scores: dict[str, float]
    cascade: bool = False

    @property
    def decided(self) -> str:
        """The variant that was chosen."""
        return self.order[0]


@dataclass
class Answer:
    """One choice, as it grows. cost: of every answer made for it, rejected ones included.

    offsets: the place in the text, in characters, at which each of the tokens begins, or at which
    the character begins that it is part of.
    """

    call: Call
    trail: Trail = field(default_factory=Trail)
    text: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    finish: Finish | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    mean_logprob: float | None = None
    cost: float = 0.0
    escalated: list[str] = field(default_factory=list)
    _place: int = 0

    def take(self, chunk: Chunk) -> None:
        """Add a piece."""
        # Text may be kept back, so tokens may come before theirs, but never after it.
        place = min(self._place, len(self.text))
        for token in chunk.tokens:
            self.offsets.append(max(0, place - token.within))
            place += token.begins
        self._place = place
        self.text += chunk.text
        self.tokens.extend(chunk.tokens)
        self.completion_tokens += chunk.made
        if chunk.finish:
            self.finish = chunk.finish
            self.mean_logprob = chunk.mean_logprob
            if chunk.prompt_tokens is not None:
                self.prompt_tokens = chunk.prompt_tokens
            if chunk.completion_tokens is not None and len(self.trail.attempts) == 1:
                self.completion_tokens = chunk.completion_tokens


class Service:
    """Answers calls with the lightest variant that will do."""

    def __init__(self, router: Router | None, pool: Pool, config: ServeConfig) -> None:
        self.router, self.pool, self.config = router, pool, config
        self.variants = tuple(pool.variants)
        self.full = self.variants[-1]
        self.admission = Admission(config.limits.running)
        self.dispatcher = Dispatcher(pool, config.timeouts, config.retries)
        self.prices = _prices(router, self.variants, config)
        trained = router.trained if router else {}
        self.cost_unit = config.cost_unit or str(trained.get("cost_unit", ""))
        self.draining = False

    def describe(self) -> dict[str, Any]:
        """Return what is served, as plain data."""
        upstreams = {
            name: [endpoint.upstream.describe() for endpoint in found]
            for name, found in self.pool.variants.items()
        }
        return {
            "variants": list(self.variants),
            "full": self.full,
            "upstreams": upstreams,
            "promise": dict(self.router.promise) if self.router else {},
            "routes": self.router is not None and self.router.allowance is not None,
        }

    def lines(self) -> list[str]:
        """Return what is served, for people."""
        found = [
            f"{name}: {', '.join(endpoint.upstream.describe() for endpoint in endpoints)}"
            for name, endpoints in self.pool.variants.items()
        ]
        if self.router is not None and self.router.allowance is None:
            found.append("the router can promise nothing: everything goes to " + self.full)
        return found

    async def plan(self, model: str, call: Call) -> Plan:
        """Choose the variants to try; Problem 404 for an unknown name."""
        self.check_name(model)
        if model == AUTO:
            return await self._routed(call)
        return Plan((model,), "name", "asked for by name", {})

    def check_name(self, model: str) -> None:
        """Raise a Problem 404 for a name that is neither `auto` nor a variant's."""
        names = (AUTO, *self.variants)
        if model not in names:
            message = f"there is no model {model!r}; {nearest(model, names)}"
            raise Problem(404, message, code="model_not_found", param="model")

    async def _routed(self, call: Call) -> Plan:
        if self.router is None:
            return Plan(self._order(self.full), "router", "there is no router", {})
        text, decide = call.text, self.router.decide
        slow = len(text) > _LONG or self.router.embeds
        return self.planned(await asyncio.to_thread(decide, text) if slow else decide(text))

    def planned(self, decision: Decision) -> Plan:
        """Return the plan that follows from the router's decision."""
        cascade = self.router is not None and self.router.cascades
        order = self._order(decision.variant)
        return Plan(order, "router", decision.reason, decision.scores, cascade)

    def _order(self, first: str) -> tuple[str, ...]:
        """Return the variant, then the full one, then the others, the best first.

        The best by the router's measured qualities; those that it does not know are the last.
        """
        known: dict[str, float] = {}
        if self.router is not None:
            known = dict(zip(self.router.variants, self.router.qualities, strict=True))
        best = sorted(self.variants, key=lambda name: known.get(name, -1.0))[::-1]
        return tuple(dict.fromkeys((first, self.full, *best)))

    async def check_length(self, call: Call, variant: str) -> None:
        """Raise a Problem 400 for a prompt of too many tokens.

        Counted by the variant's own tokenizer where it is here, else estimated from the bytes.
        """
        limit = self.config.limits.prompt_tokens
        count, size = None, call.size
        if size <= limit * 64:
            try:
                count = await self.pool.variants[variant][0].upstream.prompt_tokens(call)
            except CallRefused as error:
                code = "refused_by_upstream"
                raise Problem(400, str(error), code=code, quotes=True) from error
        if count is None:
            count = math.ceil(size / _BYTES_PER_TOKEN)
        if count > limit:
            raise Problem(
                400,
                f"the prompt has {count} tokens, at most {limit} are allowed",
                code="context_length_exceeded",
                param="messages" if call.messages else "prompt",
            )

    async def stream(self, plan: Plan, answer: Answer, *, hold: bool) -> AsyncGenerator[Chunk]:
        """Yield one choice in pieces, and take them into `answer`."""
        if plan.cascade and plan.decided != self.full:
            for chunk in await self._cascade(plan, answer):
                answer.take(chunk)
                yield chunk
            return
        source = self.dispatcher.stream(answer.call, plan.order, answer.trail, hold=hold)
        try:
            async for chunk in source:
                answer.take(chunk)
                if chunk.finish:
                    self._charge(answer, answer.prompt_tokens, answer.completion_tokens)
                yield chunk
        finally:
            await source.aclose()

    async def _cascade(self, plan: Plan, answer: Answer) -> list[Chunk]:
        """Ask the chosen variant, and the full one where the router rejects what it says.

        Where the full one fails, the rejected answer is better than none.
        """
        deadline = self.dispatcher.deadline()
        chunks, draft = await self._whole(plan.order, answer, deadline)
        given_by = answer.trail.variant or plan.decided
        failed = any(attempt.variant == self.full for attempt in answer.trail.attempts)
        if failed or await self._accepted(draft, given_by):
            return chunks
        answer.escalated.append(given_by)
        try:
            chunks, _ = await self._whole((self.full,), answer, deadline)
        except Problem:
            return chunks
        return chunks

    async def _whole(
        self, order: Sequence[str], answer: Answer, deadline: float
    ) -> tuple[list[Chunk], Answer]:
        """Return one answer, in pieces and as one, and charge it to the choice."""
        call = replace(answer.call, wants_mean=True)
        source = self.dispatcher.stream(call, order, answer.trail, hold=True, deadline=deadline)
        chunks = [chunk async for chunk in source]
        draft = Answer(call, answer.trail)
        for chunk in chunks:
            draft.take(chunk)
        self._charge(answer, draft.prompt_tokens, draft.completion_tokens)
        return chunks, draft

    async def _accepted(self, draft: Answer, variant: str) -> bool:
        assert self.router is not None
        text = draft.call.text
        signals = await asyncio.to_thread(read_signals, text, draft.text, draft.mean_logprob)
        return self.router.accepts(text, variant, signals)

    def _charge(self, answer: Answer, prompt_tokens: int, completion_tokens: int) -> None:
        price = self.prices.get(answer.trail.variant or "")
        if price is not None:
            answer.cost += price.of(prompt_tokens, completion_tokens)

    def full_cost(self, answer: Answer) -> float:
        """Return what the full model would have cost for an answer of the same length."""
        price = self.prices.get(self.full)
        return 0.0 if price is None else price.of(answer.prompt_tokens, answer.completion_tokens)


def _prices(
    router: Router | None, variants: Sequence[str], config: ServeConfig
) -> dict[str, Price]:
    """Return each variant's price: the configured ones, or else the router's mean costs.

    UsageError for some of both, whose units differ.
    """
    measured = zip(router.variants, router.costs, strict=True) if router else ()
    known = {name: cost for name, cost in measured if name in variants}
    for name in config.prices:
        if name not in variants:
            raise UsageError(f"unknown variant {name!r}; {nearest(name, variants)}", place="prices")
    lacking = [name for name in known if name not in config.prices]
    if config.prices and lacking:
        raise UsageError(
            f"there is no price for {', '.join(lacking)}",
            place="prices",
            cure="give every variant of the router a price, or none: its own costs have their unit",
        )
    return dict(config.prices) or {name: Price(request=cost) for name, cost in known.items()}


def per_choice(call: Call, choices: int) -> list[Call]:
    """Return the calls of so many choices: each has a seed of its own."""
    return [replace(call, seed=call.seed + index) for index in range(choices)]
