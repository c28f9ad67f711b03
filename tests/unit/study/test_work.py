"""The amounts of work behind a prediction, and what they cost by table or by a part's own word."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from weightcut import registry
from weightcut.compression.method import Requirements
from weightcut.engines.engine import Cost, Progress
from weightcut.hardware.speed import REFERENCE
from weightcut.models.shape import Shape
from weightcut.profiling import load
from weightcut.records import Completion, LoadSpec, ProfileSpec, Request
from weightcut.study import costs, work
from weightcut.study.costs import Load
from weightcut.study.work import Asked, Model, Weights

SHAPE = Shape(
    parameters=10_000, outer=2_000, largest=1_000, layers=4, hidden=16, vocabulary=100, cache=64
)
MODEL = Model(SHAPE, Weights(stored=20_000, resident=20_000), REFERENCE)


def asked(answers: int = 10, tokens: float = 20.0, limit: int = 32) -> Asked:
    return Asked(answers, answers * 50.0, answers * tokens, limit, 50 + limit)


@given(
    answers=st.integers(1, 500),
    more=st.integers(0, 500),
    slots=st.integers(1, 200),
    tokens=st.floats(1, 256),
)
def test_more_answers_are_never_less_work(
    answers: int, more: int, slots: int, tokens: float
) -> None:
    few = work.time_of_answers(asked(answers, tokens, 256), slots, MODEL)
    many = work.time_of_answers(asked(answers + more, tokens, 256), slots, MODEL)
    for name, amount in few.items():
        assert 0 <= amount <= many[name] * (1 + 1e-9) or name in ("steps", "weights", "unpacking")
    held = work.memory_of_answers(asked(answers, tokens, 256), slots, MODEL)
    more_held = work.memory_of_answers(asked(answers + more, tokens, 256), slots, MODEL)
    assert all(amount <= more_held[name] for name, amount in held.items())


def test_caches_have_a_share_of_the_memory_and_fewer_are_answered_at_a_time() -> None:
    """As the engines do it: a large model on a small machine is no reason to refuse its cells."""
    wide = MODEL._replace(room=MODEL.weights.resident + 2 * 1.25 * 3 * 82 * 64 * 2)
    for slots, same in ((3, True), (2, True), (10, False)):
        free, tight = (work.memory_of_answers(asked(), slots, m) for m in (MODEL, wide))
        assert (free == tight) == same
        assert tight["buffers"] <= 3 * 1.25 * 82 * 64 * 2
        times = [work.time_of_answers(asked(), slots, m)["steps"] for m in (MODEL, wide)]
        assert (times[0] == times[1]) == same
    least = work.memory_of_answers(asked(), 10, MODEL._replace(room=0.0))
    assert least["buffers"] == 1.25 * 82 * 64 * 2


def test_an_outlier_makes_no_room_for_all() -> None:
    split = Asked(9, 9 * 50.0, 9 * 20.0, 32, longest=800, batches=((1, 800), (8, 82)))
    assert work.memory_of_answers(split, 8, MODEL)["buffers"] == 800 * 64 * 2
    assert work.memory_of_answers(split._replace(batches=()), 8, MODEL)["buffers"] > 8 * 800 * 128


def test_buffers_are_for_the_longest_and_blocks_for_what_is_there() -> None:
    uneven = Asked(4, 4 * 50.0, 80.0, limit=32, longest=332)
    whole = work.memory_of_answers(uneven, 4, MODEL)
    assert whole["buffers"] == 4 * 332 * 64 * 2
    assert whole["blocks"] == 4 * 82 * 64 * 2
    in_turns = work.memory_of_answers(uneven, 2, MODEL)
    assert in_turns["buffers"] == 2 * 332 * 1.25 * 64 * 2
    assert whole["scoring"] == 0
    assert work.memory_of_answers(uneven._replace(scored=True), 4, MODEL)["scoring"] == 1


def test_answered_one_by_one_every_token_reads_the_weights() -> None:
    one = work.time_of_answers(asked(1, 32, 32), 1, MODEL)
    assert one["weights"] == pytest.approx(32 * 20_000 / REFERENCE.read)
    together = work.time_of_answers(asked(8, 32, 32), 8, MODEL)
    assert together["weights"] == pytest.approx(one["weights"])
    assert together["tokens"] == pytest.approx(8 * one["tokens"])


def test_a_machine_of_half_the_speed_needs_twice_the_time() -> None:
    slow = REFERENCE.model_copy(
        update={
            "gemm": REFERENCE.gemm / 2,
            "read": REFERENCE.read / 2,
            "dispatch": REFERENCE.dispatch * 2,
            "start": REFERENCE.start * 2,
        }
    )
    here = work.time_of_answers(asked(), 4, MODEL)
    there = work.time_of_answers(asked(), 4, MODEL._replace(speed=slow))
    assert there == pytest.approx(here | {n: 2 * a for n, a in here.items() if n != "answers"})


class Clock:
    """Seconds that a scripted server has been at work."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Server:
    """Continuous batching: a step costs seconds of its own, and some for each answer and prompt."""

    step_s, answer_s, prompt_s = 0.01, 0.001, 0.02

    def __init__(self, clock: Clock) -> None:
        self._clock, self._left, self._new = clock, dict[str, int](), 0

    def generate(self, requests: Sequence[Request]) -> Sequence[Completion]:
        raise AssertionError(f"{len(requests)} requests were asked as a batch")

    def live(self, slots: int, tokens: int) -> Server:
        return self

    def submit(self, request: Request) -> None:
        self._left[request.id] = request.max_new_tokens
        self._new += 1

    def step(self) -> list[Progress]:
        self._clock.now += self.step_s + self.answer_s * len(self._left)
        self._clock.now += self.prompt_s * self._new
        left = {name: tokens - 1 for name, tokens in self._left.items()}
        self._left, self._new = {name: more for name, more in left.items() if more}, 0
        return [
            Progress(name, ((1, None),), None if more else "length") for name, more in left.items()
        ]

    @classmethod
    def seconds(cls, amounts: Mapping[str, float]) -> float:
        """Return what amounts of work for MODEL and prompts of 50 tokens take on this server."""
        per_step = cls.step_s / (MODEL.weights.resident / REFERENCE.read)
        per_token = cls.answer_s / (2 * SHAPE.parameters / REFERENCE.gemm)
        per_prompt = cls.prompt_s / (2 * SHAPE.parameters * 50 / REFERENCE.gemm)
        return (
            per_step * amounts["weights"]
            + per_token * amounts["tokens"]
            + per_prompt * amounts["prompts"]
        )


@pytest.mark.parametrize(
    "level",
    [{"rates": (r,), "clients": ()} for r in (0.5, 2, 4, 8, 12, 16, 40, 400)]
    + [{"rates": (), "clients": (n,)} for n in (1, 8, 32, 64)],
)
def test_a_load_is_predicted_to_take_as_long_as_the_server_is_at_work(
    level: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = LoadSpec(requests=100, at_once=32, **level)
    monkeypatch.setattr(load, "time", clock := Clock())
    asked = Request(id="", prompt="", prompt_ids=(1,) * 50, max_new_tokens=24, ignore_stop=True)
    warm_up = Server.prompt_s + 24 * (Server.step_s + Server.answer_s)
    list(load.under_load(Server(clock), [asked], spec, seed=1))
    still = ProfileSpec(concurrency=(1,), prompts=3)
    busy = still.model_copy(update={"load": spec})
    before, after = (
        Server.seconds(work.time_of_profile(one, 50, 128, MODEL, Server.seconds))
        for one in (still, busy)
    )
    assert after - before == pytest.approx(clock.now - warm_up, rel=0.15)


def test_an_engine_that_is_said_to_cost_nothing_answers_a_rate_one_by_one() -> None:
    busy = ProfileSpec(load=LoadSpec(rates=(1.0,), clients=()))
    still = busy.model_copy(update={"load": None})
    before, after = (
        work.time_of_profile(one, 50, 8, MODEL, lambda _amounts: 0.0) for one in (still, busy)
    )
    assert after["weights"] > before["weights"]


def test_calibration_costs_time_and_memory_by_its_tokens() -> None:
    plain, read = Requirements(), Requirements(tokens=1000, window=100, passes=2.0)
    assert work.time_of_method(plain, SHAPE, REFERENCE, first=True)["tokens"] == 0
    spent = work.time_of_method(read, SHAPE, REFERENCE, first=False)
    assert spent["tokens"] == pytest.approx(2 * 10_000 * 1000 * 2 / REFERENCE.gemm)
    assert spent["start"] == 0
    held = work.memory_of_method(read, SHAPE)
    assert held["activations"] == 1000 * 16 * 2
    assert held["windows"] == 100 * 100 * 4


def test_a_part_that_was_not_measured_costs_what_it_says() -> None:
    cost = Cost(
        single_s=2e-10, batched_s=2e-11, prefill_s=3e-12, start_s=7, base_memory=500,
        weights_copies=2.0,
    )  # fmt: skip
    own = costs.engine_says(cost)
    one = asked(1, 1, 1)._replace(prompts=0.0)
    loads = Load("engine of another package", work.time_of_answers(one, 1, MODEL), own.seconds)
    assert costs.seconds(loads) == pytest.approx(7 + 2e-10 * 10_000, rel=1e-6)
    held = Load("engine of another package", work.memory_of_windows(10, MODEL), own.memory)
    assert costs.memory(held) == pytest.approx(500 + 2 * 20_000 + 2 * 10 * 100 * 4)
    needs = Requirements(base_seconds=3, seconds_per_weight=1e-6, base_memory=9)
    said = costs.method_says(needs)
    time = Load("method x", work.time_of_method(needs, SHAPE, REFERENCE, True), said.seconds)
    assert costs.seconds(time) == pytest.approx(3 + 1e-6 * 10_000)
    memory = Load("method x", work.memory_of_method(needs, SHAPE), said.memory)
    assert costs.memory(memory) == pytest.approx(9 + 4.0 * 10_000)


def test_a_part_of_which_no_memory_was_measured_costs_what_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = type(costs.table()).model_validate(
        {"measured": "", "parts": {"method x": {"seconds": {"start": 1.0}, "memory": {}}}}
    )
    monkeypatch.setattr(costs, "table", lambda: table)
    needs = Requirements(base_memory=9, tokens=1000, window=100)
    said = costs.method_says(needs)
    memory = Load("method x", work.memory_of_method(needs, SHAPE), said.memory)
    assert costs.memory(memory) == pytest.approx(9 + 4.0 * 10_000 + 1000 * 16 * 2 + 100 * 100 * 4)


def test_the_table_names_parts_and_amounts_that_exist() -> None:
    time = (
        work.time_of_answers(asked(), 1, MODEL)
        | work.time_of_windows(1, 2, MODEL)
        | work.time_of_profile(ProfileSpec(), 1, 1, MODEL, lambda _amounts: 0.0)
    )
    memory = work.memory_of_answers(asked(), 1, MODEL) | work.memory_of_windows(1, MODEL)
    needs = replace(Requirements(), tokens=1, window=1)
    of_method = (
        set(work.time_of_method(needs, SHAPE, REFERENCE, True)),
        set(work.memory_of_method(needs, SHAPE)),
    )
    for part, shares in costs.table().parts.items():
        kind, _, name = part.partition(" ")
        if kind == "method":
            registry.load("method", name)
            known = of_method
        else:
            registry.load("engine", name if kind == "engine" else kind)
            known = (set(time), set(memory))
        assert set(shares.seconds) <= known[0]
        assert set(shares.memory) <= known[1]
        assert all(0 < v < math.inf for v in (*shares.seconds.values(), *shares.memory.values()))


def test_the_table_is_plain_yaml_with_a_date_and_a_machine() -> None:
    assert yaml.safe_load(yaml.safe_dump(costs.table().model_dump()))["measured"].startswith("20")
