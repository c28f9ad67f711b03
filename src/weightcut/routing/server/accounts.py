"""Where a request ends up: metrics, the log, the traces, and what drift is judged by."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from weightcut.routing.server import logs
from weightcut.routing.server.ledger import Choice, Ledger, reason
from weightcut.routing.server.metrics import BREAKER, Metrics
from weightcut.routing.server.problems import Problem
from weightcut.routing.server.service import Service
from weightcut.routing.server.tracing import Tracer

REMEMBERED = 10_000
"""Answers that feedback may still be given on."""


@dataclass
class Remembered:
    """What is kept of an answer: no text. accepted: the last verdict on it, None without one."""

    variant: str
    chosen: str
    by: str
    scores: dict[str, float]
    accepted: bool | None = None


class Accounts:
    """Closes the books of every request."""

    def __init__(self, service: Service, metrics: Metrics, tracer: Tracer) -> None:
        self._service, self.metrics, self._tracer = service, metrics, tracer
        self._log_prompts = service.config.log_prompts
        self._recent: OrderedDict[str, Remembered] = OrderedDict()
        self._saved = 0.0

    def close(self, ledger: Ledger, problem: Problem | None = None, *, gone: bool = False) -> None:
        """Count and log a request that has ended, one way or the other."""
        elapsed = time.perf_counter() - ledger.began
        metrics = self.metrics
        ledger.status = 499 if gone else problem.status if problem else ledger.status
        metrics.requests(ledger.endpoint, ledger.variant, str(ledger.status)).inc()
        if gone:
            metrics.gone().inc()
        elif problem:
            problem.counted = True
            metrics.rejected(str(problem.status), problem.code or "").inc()
        else:
            metrics.seconds(ledger.variant).observe(elapsed)
            self._remember(ledger)
        for choice in ledger.choices:
            self._choice(choice)
        busy = self._busy(ledger)
        metrics.overhead().observe(max(0.0, elapsed - busy))
        self._tracer.request(ledger, ledger.trace, elapsed)
        self._log(ledger, problem, elapsed)

    def first_token(self, ledger: Ledger) -> None:
        """Note that a request has its first token."""
        elapsed = time.perf_counter() - ledger.began
        self.metrics.first_token(ledger.variant).observe(elapsed)

    def rejected(self, request_id: str, problem: Problem) -> None:
        """Count and log a request that was turned away before anybody was asked to answer it."""
        if problem.counted:
            return
        problem.counted = True
        self.metrics.rejected(str(problem.status), problem.code or "").inc()
        logs.say("rejected", request_id=request_id, status=problem.status, code=problem.code)

    def failed(self, request_id: str, endpoint: str, problem: Problem) -> None:
        """Count a request that a fault of ours ended before it had a ledger."""
        self.metrics.requests(endpoint, "", str(problem.status)).inc()
        self.rejected(request_id, problem)

    def recall(self, id_: str) -> Remembered | None:
        """Return what is known of a recent answer."""
        return self._recent.get(id_)

    def refresh(self, now: float) -> None:
        """Set the gauges; called when somebody looks."""
        metrics, service = self.metrics, self._service
        metrics.inside().set(service.admission.inside)
        for endpoint in service.pool.endpoints():
            metrics.breaker(endpoint.name).set(BREAKER[endpoint.breaker.state(now)])
            metrics.users(endpoint.name).set(endpoint.users)

    def _choice(self, choice: Choice) -> None:
        metrics, answer, variant = self.metrics, choice.answer, choice.variant
        metrics.decisions(choice.plan.decided, choice.plan.by).inc()
        for attempt in answer.trail.attempts:
            metrics.attempts(attempt.upstream, attempt.outcome).inc()
        if answer.completion_tokens:
            metrics.tokens(variant, "prompt").inc(answer.prompt_tokens)
            metrics.tokens(variant, "completion").inc(answer.completion_tokens)
        if variant != choice.plan.decided and answer.finish:
            why = "quality" if answer.escalated else "failure"
            metrics.escalations(choice.plan.decided, variant, why).inc()
        if answer.finish:
            full = self._service.full_cost(answer)
            metrics.cost(variant).inc(answer.cost)
            metrics.cost_full().inc(full)
            self._saved += full - answer.cost
            metrics.cost_saved().set(self._saved)

    def _busy(self, ledger: Ledger) -> float:
        """Return the seconds that upstreams worked for the choice that took longest."""
        return max(
            sum((a.ended or a.begun) - a.begun for a in choice.answer.trail.attempts)
            for choice in ledger.choices
        )

    def _remember(self, ledger: Ledger) -> None:
        first = ledger.choices[0]
        plan = first.plan
        found = Remembered(first.variant, plan.decided, plan.by, plan.scores)
        self._recent[ledger.id] = found
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def _log(self, ledger: Ledger, problem: Problem | None, elapsed: float) -> None:
        if not logs.logger().isEnabledFor(logging.INFO):
            return
        first = ledger.choices[0]
        usage = ledger.usage()
        facts: dict[str, Any] = {
            "request_id": ledger.request_id,
            "id": ledger.id,
            "endpoint": ledger.endpoint,
            "key": ledger.key,
            "status": ledger.status,
            "model": ledger.requested,
            "variant": first.variant,
            "reason": reason(first),
            "prompt_tokens": usage["prompt_tokens"],
            "completion_tokens": usage["completion_tokens"],
            "cost": ledger.cost,
            "seconds": round(elapsed, 6),
            "attempts": [f"{a.upstream}: {a.outcome}" for a in first.answer.trail.attempts],
        }
        if problem:
            facts["problem"] = problem.message if self._log_prompts else problem.logged()
        if self._log_prompts:
            facts["prompts"] = [call.text for call in ledger.calls]
            facts["answers"] = [choice.answer.text for choice in ledger.choices]
        logs.say("request", **facts)
