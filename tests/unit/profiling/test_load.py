from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.analysis.load import summarize_load
from weightcut.engines.engine import Progress
from weightcut.engines.scripted import ScriptedSession
from weightcut.errors import WeightcutError
from weightcut.models.scripted import ScriptedModel
from weightcut.profiling.load import arrivals, under_load
from weightcut.records import Completion, LoadSpec, Observation, Request

REQUESTS = [
    Request(id=str(i), prompt="x", prompt_ids=(1, 2), max_new_tokens=11, ignore_stop=True)
    for i in range(5)
]
SERVICE = 0.1 + 10 * 0.01  # seconds that a batch takes, whatever its size


def _session(**settings: float) -> ScriptedSession:
    return ScriptedSession(ScriptedModel(ttft_s=0.1, tpot_s=0.01, batch_cost=0, **settings))


def _spec(**changes: object) -> LoadSpec:
    return LoadSpec.model_validate({"rates": [], "clients": [], "requests": 40} | changes)


def _rows(observations: Sequence[Observation], level: str) -> list[dict[str, float]]:
    return [o.values for o in observations if o.sample.startswith(f"{level}-")]


@given(st.floats(0.01, 1000), st.integers(2, 200), st.integers(0, 10))
def test_arrivals_are_in_order_and_at_the_rate(rate: float, count: int, seed: int) -> None:
    times = arrivals(rate, count, seed)
    assert len(times) == count
    assert times == sorted(times)
    assert (count - 1) / times[-1] == pytest.approx(rate)
    assert times == pytest.approx([t / rate for t in arrivals(1, count, seed)])


def test_gaps_between_arrivals_are_those_of_a_poisson_process() -> None:
    times = arrivals(1.0, 20_000, 0)
    gaps = [b - a for a, b in pairwise(times)]
    longer = [sum(gap > x for gap in gaps) / len(gaps) for x in (0.5, 1, 2)]
    assert longer == pytest.approx([0.6065, 0.3679, 0.1353], abs=0.02)


def test_one_client_never_waits() -> None:
    found = list(under_load(_session(), REQUESTS, _spec(clients=[1]), 0))
    rows = _rows(found, "load-closed-0")
    assert len(rows) == 40
    assert {round(row["latency_s"], 9) for row in rows} == {round(SERVICE, 9)}
    assert rows[-1]["arrival_s"] == pytest.approx(39 * SERVICE)
    assert found[-1].detail["batching"].endswith("until the batch under way is done")


def test_waiting_counts_from_the_arrival() -> None:
    """Two requests at a time at most, four clients: each waits for the batch before."""
    found = list(under_load(_session(), REQUESTS, _spec(clients=[4], at_once=2), 0))
    rows = _rows(found, "load-closed-0")
    assert max(row["latency_s"] for row in rows) == pytest.approx(2 * SERVICE)
    assert max(row["ttft_s"] for row in rows) == pytest.approx(SERVICE + 0.1)
    assert all(row["tpot_s"] == pytest.approx(0.01) for row in rows)


def test_a_rate_beyond_the_capacity_saturates_and_tells_it() -> None:
    spec = _spec(rates=[1, 4, 50], requests=200, at_once=2)
    load = summarize_load(list(under_load(_session(), REQUESTS, spec, 3)), spec)
    assert load is not None
    assert [level.saturated for level in load.levels] == [False, False, True]
    assert load.sustained_per_s == 4
    assert load.saturation_per_s == pytest.approx(2 / SERVICE, rel=0.05)


def test_arrivals_that_soon_end_do_not_tell_that_answers_keep_up() -> None:
    """Forty requests in 4 s are answered as they come; in less than a second, who knows."""
    spec = _spec(rates=[10, 100], at_once=40)
    load = summarize_load(list(under_load(_session(), REQUESTS, spec, 3)), spec)
    assert load is not None
    assert [level.saturated for level in load.levels] == [False, None]
    assert load.sustained_per_s == 10
    assert load.saturation_per_s is None


def test_clients_ask_often_enough_to_tell_their_pace() -> None:
    spec = _spec(clients=[32], requests=40)
    load = summarize_load(list(under_load(_session(), REQUESTS, spec, 0)), spec)
    assert load is not None
    assert load.levels[0].requests == 4 * 32
    assert load.levels[0].answers_per_s == pytest.approx(32 / SERVICE)
    assert load.levels[0].goodput_per_s == pytest.approx(32 / SERVICE)


def test_a_rate_above_the_capacity_is_not_sustained() -> None:
    """One rate whose few requests hide that it is too much, and one that shows the capacity."""
    levels = [(12.0, 0.0), (40.0, 3.0)]  # requests a second, growth of the latency
    found = []
    for number, (rate, slope) in enumerate(levels):
        name = f"load-open-{number}"
        for i in range(200):
            at = i / rate
            row = {"arrival_s": at, "ttft_s": 0.1, "tpot_s": 0.01, "latency_s": 0.2 + slope * at}
            found.append(Observation(sample=f"{name}-{i:04d}", values=row | {"tokens": 11.0}))
        head = {"level": float(number), "requests": 200.0, "rate": rate}
        found.append(Observation(sample=name, values=head))
    load = summarize_load(found, None)
    assert load is not None
    assert [level.saturated for level in load.levels] == [False, True]
    assert load.saturation_per_s == pytest.approx(10)
    assert load.sustained_per_s is None


class Broken:
    """A session that fails from its third batch on."""

    def __init__(self) -> None:
        self._good, self._session = 2, _session()

    def generate(self, requests: Sequence[Request]) -> Sequence[Completion]:
        self._good -= 1
        if self._good < 0:
            raise WeightcutError("out of order")
        return list(self._session.generate(requests))


def test_a_session_that_fails_costs_errors_and_not_the_cell() -> None:
    spec = _spec(clients=[1], requests=5)
    found = list(under_load(Broken(), REQUESTS, spec, 0))
    load = summarize_load(found, spec)
    assert load is not None
    assert load.levels[0].error_rate == pytest.approx(3 / 5)
    assert "out of order" in found[-1].detail["error"]


def test_a_rate_at_which_the_session_broke_is_not_kept_up_with() -> None:
    spec = _spec(rates=[1], requests=40)
    broken = Broken()
    broken._good = 20
    load = summarize_load(list(under_load(broken, REQUESTS, spec, 0)), spec)
    assert load is not None
    [level] = load.levels
    assert level.error == "WeightcutError: out of order"
    assert 0.4 < (level.error_rate or 0) < 0.6
    assert level.saturated is None
    assert level.goodput_per_s is None
    assert load.sustained_per_s is None


class Forgetful:
    def generate(self, requests: Sequence[Request]) -> Sequence[Completion]:
        return []


def test_requests_left_unanswered_are_errors() -> None:
    spec = _spec(clients=[2], requests=4)
    load = summarize_load(list(under_load(Forgetful(), REQUESTS, spec, 0)), spec)
    assert load is not None
    assert load.levels[0].error_rate == 1


class Stepping:
    """A session that takes requests in at every step: each takes three steps."""

    def __init__(self) -> None:
        self.most = 0

    def live(self, slots: int, tokens: int) -> SteppingBatch | None:
        assert tokens >= slots * 13
        return SteppingBatch(self)

    def generate(self, requests: Sequence[Request]) -> Sequence[Completion]:
        raise AssertionError("it can take requests in one by one")


class SteppingBatch:
    def __init__(self, session: Stepping) -> None:
        self._session = session
        self._under_way: dict[str, int] = {}

    def submit(self, request: Request) -> None:
        assert request.id not in self._under_way
        self._under_way[request.id] = 0

    def step(self) -> Sequence[Progress]:
        self._session.most = max(self._session.most, len(self._under_way))
        time.sleep(0.001)
        found = []
        for name in list(self._under_way):
            self._under_way[name] += 1
            ended = self._under_way[name] == 3
            found.append(Progress(name, ((1, None),), "length" if ended else None))
            if ended:
                del self._under_way[name]
        return found


def test_a_live_session_lets_later_requests_join() -> None:
    session = Stepping()
    spec = _spec(rates=[2000], clients=[3], requests=30, at_once=5)
    found = list(under_load(session, REQUESTS, spec, 0))
    for level in ("load-open-0", "load-closed-0"):
        rows = _rows(found, level)
        assert len(rows) == 30
        assert all(row["tokens"] == 3 for row in rows)
        assert all(0 < row["ttft_s"] <= row["latency_s"] for row in rows)
        assert all(row["tpot_s"] > 0 for row in rows)
    assert session.most == 5
    assert "join" in found[-1].detail["batching"]


class Fixed(Stepping):
    """A session that would be live, but not with this model."""

    def live(self, slots: int, tokens: int) -> None:
        return None

    def generate(self, requests: Sequence[Request]) -> Sequence[Completion]:
        return list(_session().generate(requests))


def test_a_session_that_cannot_be_live_answers_in_batches() -> None:
    found = list(under_load(Fixed(), REQUESTS, _spec(clients=[2], requests=4), 0))
    assert "until the batch" in found[-1].detail["batching"]


@pytest.mark.parametrize("bad", [{"rates": [0]}, {"rates": [float("nan")]}, {"clients": [0]},
                                 {"requests": 1}, {"rate": 1}])  # fmt: skip
def test_an_impossible_load_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        LoadSpec.model_validate(bad)
