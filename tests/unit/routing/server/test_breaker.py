from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weightcut.routing.server.breaker import Breaker
from weightcut.routing.server.config import BreakerConfig

SETTINGS = BreakerConfig(window_s=10, minimum=4, failure_share=0.5, open_s=5, recovery=2)


def end(breaker: Breaker, ok: bool, now: float) -> None:
    token = breaker.allow(now)
    assert token is not None
    breaker.record(token, ok, now)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        end(breaker, False, at)
    return breaker


def test_opens_only_after_the_minimum_of_outcomes() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        end(breaker, False, 0.0)
    assert breaker.state(0.0) == "closed"
    end(breaker, False, 0.0)
    assert breaker.state(0.0) == "open"
    assert breaker.allow(4.9) is None


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        end(breaker, False, 0.0)
    end(breaker, False, 10.5)
    assert breaker.state(10.5) == "closed"


def test_a_few_failures_among_many_do_not_open() -> None:
    breaker = Breaker(SETTINGS)
    for i in range(40):
        end(breaker, i % 4 != 0, i / 10)
    assert breaker.state(4.0) == "closed"


def test_one_probe_at_a_time_and_two_good_ones_close() -> None:
    breaker = opened()
    assert breaker.state(5.0) == "half-open"
    token = breaker.allow(5.0)
    assert token is not None
    assert breaker.allow(5.0) is None
    breaker.record(token, True, 5.1)
    assert breaker.state(5.1) == "half-open"
    end(breaker, True, 5.2)
    assert breaker.state(5.2) == "closed"


def test_a_bad_probe_opens_for_twice_the_pause() -> None:
    breaker = opened()
    end(breaker, False, 5.0)
    assert breaker.state(14.9) == "open"
    assert breaker.state(15.0) == "half-open"


def test_a_probe_whose_client_left_says_nothing() -> None:
    breaker = opened()
    token = breaker.allow(5.0)
    assert token is not None
    breaker.release(token)
    assert breaker.allow(5.0) is not None


def test_late_outcomes_of_calls_from_before_change_nothing() -> None:
    breaker = Breaker(SETTINGS)
    old = [token for _ in range(4) if (token := breaker.allow(0.0)) is not None]
    for _ in range(4):
        end(breaker, False, 0.0)
    breaker.record(old[0], True, 0.1)
    assert breaker.state(0.1) == "open"
    probe = breaker.allow(5.0)
    assert probe is not None
    breaker.record(old[1], True, 5.1)
    breaker.record(old[2], False, 5.1)
    breaker.release(old[3])
    assert breaker.state(5.1) == "half-open"
    assert breaker.allow(5.1) is None
    breaker.record(probe, True, 5.2)
    end(breaker, True, 5.3)
    assert breaker.state(5.3) == "closed"


class Machine(RuleBasedStateMachine):
    """Any order of calls, outcomes and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(SETTINGS)
        self.now = 0.0
        self.running: list[int] = []
        self.recorded = 0

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        state = self.breaker.state(self.now)
        allowed = self.breaker.allow(self.now)
        assert allowed is not None or state != "closed"
        assert allowed is None or state != "open"
        if allowed is not None:
            self.running.append(allowed)

    @precondition(lambda self: bool(self.running))
    @rule(ok=st.booleans(), which=st.integers(0, 99))
    def end(self, ok: bool, which: int) -> None:
        self.recorded += 1
        token = self.running.pop(which % len(self.running))
        self.breaker.record(token, ok, self.now)

    @precondition(lambda self: bool(self.running))
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        self.breaker.release(self.running.pop(which % len(self.running)))

    @invariant()
    def never_open_before_the_minimum(self) -> None:
        assert self.recorded >= SETTINGS.minimum or self.breaker.state(self.now) == "closed"

    @invariant()
    def never_open_for_ever(self) -> None:
        assert self.breaker.state(self.now + SETTINGS.longest_open_s) != "open"


TestMachine = Machine.TestCase
