from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from weightcut.routing.server.breaker import Breaker
from weightcut.routing.server.config import BreakerConfig

SETTINGS = BreakerConfig(window_s=10, minimum=4, failure_share=0.5, open_s=5, recovery=2)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        assert breaker.allow(at)
        breaker.record(False, at)
    return breaker


def test_opens_only_after_the_minimum_of_outcomes() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.record(False, 0.0)
    assert breaker.state(0.0) == "closed"
    breaker.record(False, 0.0)
    assert breaker.state(0.0) == "open"
    assert not breaker.allow(4.9)


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.record(False, 0.0)
    breaker.record(False, 10.5)
    assert breaker.state(10.5) == "closed"


def test_a_few_failures_among_many_do_not_open() -> None:
    breaker = Breaker(SETTINGS)
    for i in range(40):
        breaker.record(i % 4 != 0, i / 10)
    assert breaker.state(4.0) == "closed"


def test_one_probe_at_a_time_and_two_good_ones_close() -> None:
    breaker = opened()
    assert breaker.state(5.0) == "half-open"
    assert breaker.allow(5.0)
    assert not breaker.allow(5.0)
    breaker.record(True, 5.1)
    assert breaker.state(5.1) == "half-open"
    assert breaker.allow(5.1)
    breaker.record(True, 5.2)
    assert breaker.state(5.2) == "closed"


def test_a_bad_probe_opens_for_twice_the_pause() -> None:
    breaker = opened()
    assert breaker.allow(5.0)
    breaker.record(False, 5.0)
    assert breaker.state(14.9) == "open"
    assert breaker.state(15.0) == "half-open"


def test_a_probe_whose_client_left_says_nothing() -> None:
    breaker = opened()
    assert breaker.allow(5.0)
    breaker.release()
    assert breaker.allow(5.0)


def test_late_outcomes_of_calls_from_before_change_nothing_while_open() -> None:
    breaker = opened()
    breaker.record(True, 0.1)
    breaker.record(True, 0.1)
    assert breaker.state(0.1) == "open"


class Machine(RuleBasedStateMachine):
    """Any order of calls, outcomes and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(SETTINGS)
        self.now = 0.0
        self.running = 0
        self.recorded = 0

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        state = self.breaker.state(self.now)
        allowed = self.breaker.allow(self.now)
        assert allowed or state != "closed"
        assert not (allowed and state == "open")
        self.running += allowed

    @precondition(lambda self: self.running > 0)
    @rule(ok=st.booleans())
    def end(self, ok: bool) -> None:
        self.running -= 1
        self.recorded += 1
        self.breaker.record(ok, self.now)

    @precondition(lambda self: self.running > 0)
    @rule()
    def leave(self) -> None:
        self.running -= 1
        self.breaker.release()

    @invariant()
    def never_open_before_the_minimum(self) -> None:
        assert self.recorded >= SETTINGS.minimum or self.breaker.state(self.now) == "closed"

    @invariant()
    def never_open_for_ever(self) -> None:
        assert self.breaker.state(self.now + SETTINGS.longest_open_s) != "open"


TestMachine = Machine.TestCase
