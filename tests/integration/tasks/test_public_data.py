"""MBPP, QuixBugs and HumanEvalFix as published: right answers pass, buggy programs do not."""

from __future__ import annotations

from typing import Literal

import pytest
from tests.answers import data, scores, share

from weightcut.tasks.humanevalfix import HumanEvalFix
from weightcut.tasks.mbpp import Mbpp
from weightcut.tasks.quixbugs import QuixBugs


@pytest.mark.parametrize(("subset", "count"), [("full", 974), ("sanitized", 427)])
def test_every_solution_of_mbpp_passes(subset: Literal["full", "sanitized"], count: int) -> None:
    task = Mbpp(data=data("mbpp"), subset=subset, split="all")
    right = scores(task, lambda sample: f"{sample.reference}\n```")
    assert len(right) == count
    assert [name for name, one in right.items() if not one.values["passed"]] == []
    assert share(right, "compiles") == 1
    wrong = scores(task.model_copy(update={"limit": 100}), lambda _: "pass")
    assert share(wrong, "passed") == 0


def test_the_papers_splits_of_mbpp() -> None:
    folder = data("mbpp")
    assert len(Mbpp(data=folder).items()) == 500
    assert len(Mbpp(data=folder, subset="sanitized").items()) == 257
    assert Mbpp(data=folder).items()[0].plain_prompt.count("[BEGIN]") == 4


def test_programs_of_quixbugs() -> None:
    task = QuixBugs(data=data("quixbugs"), timeout=2)
    right = scores(task, lambda sample: sample.reference)
    assert len(right) == 40
    assert [name for name, one in right.items() if not one.values["correct"]] == []
    assert share(right, "plausible") == share(right, "exact_match") == 1
    wrong = scores(task, lambda sample: sample.meta["bug"]["buggy"])
    for metric in ("correct", "plausible", "regression", "exact_match"):
        assert share(wrong, metric) == 0, metric


def test_functions_of_humanevalfix() -> None:
    task = HumanEvalFix(data=data("humanevalpack"), timeout=1)
    right = scores(task, lambda sample: sample.reference)
    assert len(right) == 164
    assert [name for name, one in right.items() if not one.values["correct"]] == []
    assert share(right, "plausible") == share(right, "exact_match") == 1
    wrong = scores(task, lambda sample: sample.meta["bug"]["buggy"])
    for metric in ("correct", "plausible", "regression", "exact_match"):
        assert share(wrong, metric) == 0, metric
    assert task.notes() == [
        "humanevalfix: no readable examples in 038, 041, 050, 083, 084, 119, 160; "
        "a check of the test is shown"
    ]
