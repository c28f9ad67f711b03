"""A circuit breaker: leaves a failing upstream alone, and tries whether it has recovered.

Source: M. Nygard, Release It! (2007), with a minimum number of outcomes before it judges.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Literal

from weightcut.routing.server.config import BreakerConfig

State = Literal["closed", "half-open", "open"]


class Breaker:
    """A state machine without a clock of its own: every method is told the time, in seconds.

    closed: everything may pass, until enough recent outcomes are failures. open: nothing may, for a
    pause. half-open: one probe at a time; enough good ones in a row close it, a bad one opens it
    for twice the pause.
    """

    def __init__(self, settings: BreakerConfig) -> None:
        self._settings = settings
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._opened: float | None = None
        self._pause = settings.open_s
        self._tokens = itertools.count()
        self._probe_token: int | None = None
        self._recovered = 0

    def state(self, now: float) -> State:
        """Return the state."""
        if self._opened is None:
            return "closed"
        return "half-open" if now - self._opened >= self._pause else "open"

    def allow(self, now: float) -> int | None:
        """Return a call's token, None where it may not go; `record` or `release` must follow."""
        state = self.state(now)
        if state == "open" or (state == "half-open" and self._probe_token is not None):
            return None
        token = next(self._tokens)
        if state == "half-open":
            self._probe_token = token
        return token

    def release(self, token: int) -> None:
        """Say that a call that was allowed ended without an outcome (its client left)."""
        if token == self._probe_token:
            self._probe_token = None

    def record(self, token: int, ok: bool, now: float) -> None:
        """Take the outcome of a call that was allowed; one from before a probe is not the probe."""
        if self._opened is None:
            self._judge(ok, now)
        elif token == self._probe_token:
            self._probe_token = None
            self._probe(ok, now)

    def _judge(self, ok: bool, now: float) -> None:
        settings, outcomes = self._settings, self._outcomes
        outcomes.append((now, ok))
        self._failures += not ok
        while outcomes and now - outcomes[0][0] > settings.window_s:
            self._failures -= not outcomes.popleft()[1]
        enough = len(outcomes) >= settings.minimum
        if not ok and enough and self._failures >= settings.failure_share * len(outcomes):
            self._open(now, settings.open_s)

    def _probe(self, ok: bool, now: float) -> None:
        if not ok:
            self._open(now, min(2 * self._pause, self._settings.longest_open_s))
            return
        self._recovered += 1
        if self._recovered >= self._settings.recovery:
            self._opened = None

    def _open(self, now: float, pause: float) -> None:
        self._opened, self._pause = now, pause
        self._recovered, self._failures = 0, 0
        self._outcomes.clear()
