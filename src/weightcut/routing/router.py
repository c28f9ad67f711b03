"""The router as it is used: a prompt in, the name of a variant and the reason out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from weightcut.routing.policy import Floats, Policy


@dataclass(frozen=True)
class Decision:
    """Which variant answers a prompt, and why.

    scores: "will this variant do?", a number from 0 to 1 for every variant; 0.5 means that it is
    expected to answer as well as the full one, whose own score is 0.5.
    """

    variant: str
    scores: dict[str, float]
    reason: str


@dataclass(frozen=True)
class Signals:
    """What an answer says about itself, None where unknown.

    mean_logprob: mean log-probability of its tokens (nats). parses: whether its code parses.
    tests_passed: whether it passed the tests that the prompt shows, run in the sandbox.
    """

    mean_logprob: float | None = None
    parses: bool | None = None
    tests_passed: bool | None = None


@runtime_checkable
class Judge(Protocol):
    """A policy that can judge an answer (weightcut.routing.cascade)."""

    def judge(self, predicted: Floats, signals: Floats) -> Floats:
        """Return the expected quality of answers."""
        ...


@dataclass(frozen=True)
class Router:
    """Variants ordered by measured cost, a policy that scores them, and the calibrated threshold.

    costs, qualities: mean cost and quality of each variant where it was fitted; the last variant is
    the full model. allowance: the quality (0..1) that may be expected to be lost for saving the
    whole cost of a full answer; None routes everything to the full model. promise: what the
    calibration can promise, in words and figures. digest: of the stored policy, whose scores stay
    the same whatever the threshold; empty for a router that was not read from a folder.
    """

    variants: tuple[str, ...]
    costs: tuple[float, ...]
    qualities: tuple[float, ...]
    policy: Policy
    allowance: float | None = None
    promise: Mapping[str, Any] = field(default_factory=dict)
    trained: Mapping[str, Any] = field(default_factory=dict)
    digest: str = field(default="", compare=False)

    @property
    def full(self) -> str:
        """The variant that everything is measured against: the dearest."""
        return self.variants[-1]

    @property
    def thresholds(self) -> dict[str, float]:
        """The score that each variant but the full one must reach; infinite if nothing may pass."""
        saved = self._saved()
        if self.allowance is None:
            return dict.fromkeys(self.variants[:-1], math.inf)
        if self.cascades:
            first = 0.5 - 0.5 * self.allowance
            return {n: first if n == self.variants[0] else math.inf for n in self.variants[:-1]}
        return {
            name: 0.5 - 0.5 * self.allowance * share
            for name, share in zip(self.variants[:-1], saved, strict=True)
        }

    def _saved(self) -> list[float]:
        """Return the share of the full model's cost that each other variant saves."""
        full = self.costs[-1]
        return [1 - cost / full if full > 0 else 0.0 for cost in self.costs[:-1]]

    def scores(self, prompt: str) -> dict[str, float]:
        """Return "will this variant do?" for every variant, each from 0 to 1."""
        return self._scores(self.policy.predict(prompt))

    def _scores(self, quality: Floats) -> dict[str, float]:
        full = float(quality[-1])
        return {
            name: 0.5 + 0.5 * (float(value) - full)
            for name, value in zip(self.variants, quality, strict=True)
        }

    def need_full_model(self, prompt: str) -> float:
        """Return how much the prompt needs the full model, from 0 to 1; 0.5 means not at all.

        One minus the score of the best of the others; the threshold lies outside.
        """
        scores = self.scores(prompt)
        return 1 - max((scores[name] for name in self.variants[:-1]), default=0.0)

    def decide(self, prompt: str) -> Decision:
        """Return the variant that exceeds its threshold most clearly, the full one if none does."""
        quality = self.policy.predict(prompt)
        scores = self._scores(quality)
        if self.allowance is None:
            why = "nothing can be promised of the other variants"
            return Decision(self.full, scores, why)
        if self.cascades:
            return Decision(self.variants[0], scores, "it answers first; its answer then decides")
        thresholds = self.thresholds
        # As `choose` calculates them, rounding included: it calibrated what a tie does.
        margins = {
            name: self.allowance * share - (float(quality[-1]) - float(value))
            for name, share, value in zip(self.variants[:-1], self._saved(), quality, strict=False)
        }
        best = max(margins, key=margins.__getitem__, default=self.full)
        if best != self.full and margins[best] >= 0:
            why = f"score {scores[best]:.3f} reaches the threshold {thresholds[best]:.3f}"
            return Decision(best, scores, why)
        why = "no lighter variant reaches its threshold"
        if best != self.full:
            why += f" ({best}: {scores[best]:.3f} of {thresholds[best]:.3f})"
        return Decision(self.full, scores, why)

    @property
    def embeds(self) -> bool:
        """Whether a language model reads every prompt, which takes tens of milliseconds."""
        return self.policy.embeds

    @property
    def cascades(self) -> bool:
        """Whether the cheapest variant answers first, and `accepts` then judges its answer."""
        return self.policy.kind == "cascade" and self.allowance is not None

    def accepts(self, prompt: str, variant: str, signals: Signals) -> bool:
        """Return whether a cascade keeps this answer of `variant`, or asks the full model.

        Any other router keeps every answer, and so does the full model's own judge.
        """
        if not self.cascades or variant == self.full or self.allowance is None:
            return True
        if variant != self.variants[0] or not isinstance(self.policy, Judge):
            return False
        predicted = self.policy.predict(prompt)[None, :]
        found = [getattr(signals, name) for name in ("mean_logprob", "parses", "tests_passed")]
        row = np.array([[math.nan if value is None else float(value) for value in found]])
        lost = float(predicted[0, -1] - self.policy.judge(predicted, row)[0])
        return lost <= self.allowance

    def with_allowance(self, allowance: float | None, promise: Mapping[str, Any]) -> Router:
        """Return the router with another threshold and what that promises."""
        return replace(self, allowance=allowance, promise=promise)


def load_router(path: str | Path) -> Router:
    """Read a router folder; one that is broken, changed or of another version is refused."""
    from weightcut.routing.files import read_router

    return read_router(Path(path))
