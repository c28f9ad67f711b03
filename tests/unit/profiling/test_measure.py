from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import pytest

from weightcut.engines.scripted import ScriptedSession
from weightcut.errors import WeightcutError
from weightcut.models.scripted import ScriptedModel
from weightcut.profiling.energy import Counter, EnergyMeter
from weightcut.profiling.machine import gpus_held
from weightcut.profiling.measure import Meter, measure
from weightcut.records import Completion, Request


def test_every_round_tells_its_cpu_time() -> None:
    requests = [
        Request(id=str(i), prompt="x", prompt_ids=(1,), max_new_tokens=4, ignore_stop=True)
        for i in range(4)
    ]
    session = ScriptedSession(ScriptedModel())
    found = {o.sample: o.values for o in measure(session, requests, 3, (1, 2), 0)}
    assert {"throughput-1-0", "throughput-2-0", "throughput-2-1", "machine", "memory"} <= set(found)
    for name, values in found.items():
        if name.startswith("throughput"):
            assert values["cpu_s"] > 0
            assert values["spent_s"] > 0
    assert set(found["machine"]) == {"busy_before", "busy_during", "busy_after"}


class Full(ScriptedSession):
    """A session that gives no answer to the prompt named `long`, as where it fills the context."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        for one in super().generate(requests):
            changes = {"token_ids": (), "token_times": (), "finish_reason": "aborted"}
            yield one.model_copy(update=changes) if one.request_id.startswith("long") else one


def test_a_prompt_without_an_answer_is_named() -> None:
    short, long = (
        Request(id=name, prompt="x", prompt_ids=(1,) * size, max_new_tokens=4, ignore_stop=True)
        for name, size in (("short", 2), ("long", 9))
    )
    with pytest.raises(WeightcutError, match="the timed prompt long of 9 tokens"):
        list(measure(Full(ScriptedModel()), [short, long], 2, (1,), 0))


def test_no_prompt_is_left_out_where_there_are_too_few() -> None:
    requests = [
        Request(id=str(i), prompt="x", prompt_ids=(1,), max_new_tokens=4, ignore_stop=True)
        for i in range(3)
    ]
    found = [one.sample for one in measure(ScriptedSession(ScriptedModel()), requests, 3, (1,), 0)]
    assert sum(name.startswith("latency-") for name in found) == 3


def test_a_meter_sums_its_blocks() -> None:
    joules = iter([0.0, 5.0, 10.0, 17.0])
    meter = Meter(EnergyMeter([Counter("cpu", lambda: next(joules), float("inf"))], []))
    for _ in range(2):
        with meter:
            pass
    assert meter.values["cpu_j"] == pytest.approx(12.0)
    assert "gpu_j" not in meter.values


def test_no_gpu_is_held_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert gpus_held() == 0
