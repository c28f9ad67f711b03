"""HumanEvalFix: 164 Python functions with a bug put in by hand (arXiv:2308.07124)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.data.datasets import read_jsonl
from weightcut.errors import BrokenInput
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.data_file import dataset_file
from weightcut.tasks.python_tests import Suite, read_suite
from weightcut.tasks.repairing import (
    CHAT_STOP,
    REPAIR_METRICS,
    STOP,
    Bug,
    known_passes,
    repair_sample,
    score_repair,
    split_function,
)

FILE = "python.jsonl"
ORIGIN = "HumanEvalPack's file data/python/data/humanevalpack.jsonl, from bigcode/humanevalpack"
KEYS = ("task_id", "prompt", "canonical_solution", "buggy_solution", "test", "example_test",
        "entry_point")  # fmt: skip


class HumanEvalFix(Record):
    """HumanEvalFix in Python: visible are the docstring's examples, held out is HumanEval's test.

    The checks of `example_test` are visible, those of `test` held out; where the bug passes the
    examples, or there are none, a check of the test that it fails is visible too. Prompt,
    extraction and scores: `weightcut.tasks.repairing`.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = REPAIR_METRICS
    chat_stop: ClassVar[tuple[str, ...]] = CHAT_STOP
    plain_stop: ClassVar[tuple[str, ...]] = STOP

    kind: Literal["humanevalfix"] = "humanevalfix"
    data: str = Field("", description=f"folder with {FILE}, or hub:org/name@COMMIT")
    limit: int | None = Field(None, ge=1, description="only the first bugs; all 164 without it")
    samples: int = Field(1, ge=1, description="answers to each bug")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(384, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(5.0, gt=0, description="CPU seconds for each run of an answer's tests")

    def items(self) -> Sequence[Sample]:
        """Return the bugs in the order of the file."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        path = dataset_file(self.kind, self.data, FILE, ORIGIN)
        return [repair_sample(_bug(row, f"{path}:{line}")) for line, row in read_jsonl(path, KEYS)]

    def notes(self) -> Sequence[str]:
        """Return which tasks have no examples to show."""
        without = [s.id for s in self.items() if not s.meta["bug"]["about"]["examples"]]
        if not without:
            return []
        names = ", ".join(without)
        return [f"humanevalfix: no readable examples in {names}; a check of the test is shown"]

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        return score_repair(sample, completion, chat, self.timeout)


def _bug(row: dict[str, Any], place: str) -> Bug:
    name = row["entry_point"]
    try:
        held_out = read_suite(row["test"], name)
        before, fixed = split_function(row["prompt"] + row["canonical_solution"], name)
        buggy = split_function(row["prompt"] + row["buggy_solution"], name)[1]
    except (SyntaxError, ValueError) as error:
        raise BrokenInput(f"cannot be read as Python: {error}", place=place) from None
    if not held_out.checks:
        raise BrokenInput("the test asserts nothing", place=place)
    before = before.lstrip("\n")
    shown = _examples(row["example_test"], name)
    suite = shown.joined(held_out)
    known = known_passes(before + buggy, suite)
    failing = [check for check in suite.checks if known is not None and check not in known]
    extra = set(failing[:1]) if shown.checks and set(failing).isdisjoint(shown.checks) else set()
    visible = {*shown.checks, *extra} or {*(failing or suite.checks)[:1]}
    return Bug(
        id=row["task_id"].rpartition("/")[2].zfill(3),
        name=name,
        before=before,
        buggy=buggy,
        fixed=fixed,
        suite=suite,
        visible=tuple(sorted(visible)),
        passes=known,
        about={"examples": bool(shown.checks)},
    )


def _examples(test: str, name: str) -> Suite:
    """Return the checks of a docstring's examples; none where the text is no test."""
    try:
        return read_suite(test, name)
    except (SyntaxError, ValueError):
        return Suite(steps=(), checks=())
