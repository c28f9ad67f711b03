"""What one HTTP request asks for, what becomes of it, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from weightcut.routing.server.calls import Call
from weightcut.routing.server.service import Answer, Plan


@dataclass
class Choice:
    """One answer of a request. text is `answer.text`; index is its place among the choices."""

    index: int
    plan: Plan
    answer: Answer

    @property
    def variant(self) -> str:
        """The variant that gave the answer, or is about to."""
        return self.answer.trail.variant or self.plan.decided


@dataclass
class Ledger:
    """A request's account.

    began: `time.perf_counter()` when its head was there. trace: its W3C trace context headers.
    """

    id: str
    request_id: str
    endpoint: str
    requested: str
    choices: list[Choice]
    began: float
    cost_unit: str
    key: str = ""
    status: int = 200
    closed: bool = False
    trace: dict[str, str] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def calls(self) -> Sequence[Call]:
        """The calls of all choices."""
        return [choice.answer.call for choice in self.choices]

    @property
    def variant(self) -> str:
        """The variant of the first choice."""
        return self.choices[0].variant

    @property
    def cost(self) -> float:
        """The cost of all choices."""
        return sum(choice.answer.cost for choice in self.choices)

    def usage(self) -> dict[str, int]:
        """Return OpenAI's usage object; a prompt counts once, however many choices it has."""
        prompts = {choice.answer.call.id: choice.answer.prompt_tokens for choice in self.choices}
        prompt = sum(prompts.values())
        made = sum(choice.answer.completion_tokens for choice in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def headers(self) -> dict[str, str]:
        """Return the headers that say who answers and why; the cost where it is known."""
        first = self.choices[0]
        found = {
            "x-weightcut-variant": first.variant,
            "x-weightcut-reason": reason(first),
        }
        if all(choice.answer.finish for choice in self.choices):
            found["x-weightcut-cost"] = f"{self.cost:.9g}"
        return {name: _ascii(value) for name, value in found.items()}

    def told(self) -> dict[str, Any]:
        """Return the field `weightcut` of an answer."""
        told = _told(self.choices[0]) | {"cost": self.cost, "cost_unit": self.cost_unit}
        if len(self.choices) > 1:
            told["choices"] = [_told(choice) for choice in self.choices]
        return told


def reason(choice: Choice) -> str:
    """Return why this variant answered, in one line."""
    said, variant = choice.plan.reason, choice.variant
    failed = [a for a in choice.answer.trail.attempts if a.outcome != "ok"]
    why = ", ".join(dict.fromkeys(f"{a.upstream}: {a.outcome}" for a in failed))
    if choice.answer.escalated:
        said += f"; answers of {', '.join(choice.answer.escalated)} were not good enough"
        if variant in choice.answer.escalated:
            said += f", but there was no better one ({why or 'no upstream is healthy'})"
    elif variant != choice.plan.decided:
        said += f"; fell back from {choice.plan.decided} ({why})"
    return said


def _told(choice: Choice) -> dict[str, Any]:
    answer = choice.answer
    return {
        "variant": choice.variant,
        "chosen": choice.plan.decided,
        "by": choice.plan.by,
        "reason": reason(choice),
        "scores": choice.plan.scores,
        "cost": answer.cost,
        "escalated": answer.escalated,
        "attempts": [
            {
                "variant": attempt.variant,
                "upstream": attempt.upstream,
                "outcome": attempt.outcome,
                "seconds": round((attempt.ended or attempt.begun) - attempt.begun, 6),
            }
            for attempt in answer.trail.attempts
        ],
    }


def _ascii(value: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in value)[:1000]
