"""A bounded room for requests: what does not fit is turned away at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weightcut.routing.server.problems import Problem

_MEMORY = 0.05
"""Weight of the newest duration in the running mean."""


@dataclass
class Admission:
    """Counts the answers that are wanted, those that wait for an upstream's slot included.

    capacity: answers. mean_s: running mean of the seconds that one takes, None before the first.
    """

    capacity: int
    inside: int = 0
    mean_s: float | None = None

    def enter(self, answers: int) -> None:
        """Take room; Problem 429 with Retry-After where there is none."""
        if self.inside + answers > self.capacity:
            raise Problem(
                429,
                f"the server is full: {self.inside} answers are being made or wait",
                code="overloaded",
                retry_after=self.retry_after(),
            )
        self.inside += answers

    def leave(self, answers: int, seconds: float | None = None) -> None:
        """Give room back, after so many seconds; None where there was no answer."""
        self.inside -= answers
        if seconds is None:
            return
        mean = seconds if self.mean_s is None else self.mean_s
        self.mean_s = mean + _MEMORY * (seconds - mean)

    def retry_after(self) -> int:
        """Return whole seconds after which room is likely: about when the next answers end."""
        expected = (self.mean_s or 1.0) / max(1.0, math.sqrt(self.inside))
        return min(60, max(1, math.ceil(expected)))
