"""What is refused of any task's samples, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pytest

from weightcut.errors import BrokenInput
from weightcut.records import Record, Sample
from weightcut.tasks.task import GenerationTask, samples_of


class Own(Record):
    """As much of a task as is needed."""

    mode: ClassVar[str] = "generation"
    kind: str = "own"
    asked: tuple[Sample, ...]

    def items(self) -> Sequence[Sample]:
        return self.asked


def _task(*asked: dict[str, Any]) -> GenerationTask:
    empty: dict[str, Any] = {"messages": (), "plain_prompt": "", "reference": ""}
    return cast("GenerationTask", Own(asked=tuple(Sample(**empty | one) for one in asked)))


def test_two_samples_of_one_id_are_refused() -> None:
    assert len(samples_of(_task({"id": "1"}, {"id": "2"}))) == 2
    with pytest.raises(BrokenInput, match="two samples have the id '1'") as caught:
        samples_of(_task({"id": "1"}, {"id": "2"}, {"id": "1"}))
    assert caught.value.place == "task own"


@pytest.mark.parametrize(
    "field",
    [
        {"plain_prompt": "a \ud800"},
        {"messages": ({"role": "user", "content": "\udfff"},)},
        {"meta": {"tests": ["fine", "\udc00"]}},
    ],
)
def test_half_a_sign_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(BrokenInput, match="the sample '2': half a surrogate pair"):
        samples_of(_task({"id": "1"}, {"id": "2"} | field))
