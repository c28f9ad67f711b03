"""QuixBugs and HumanEvalFix from folders made by hand, and broken data."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.answers import scores, share

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Sample
from weightcut.tasks.humanevalfix import HumanEvalFix
from weightcut.tasks.quixbugs import QuixBugs, documented
from weightcut.tasks.task import GenerationTask

PROGRAM: dict[str, Any] = {
    "name": "pairs",
    "buggy_program": "import sys\n\ndef pairs(n):\n    for i in range(n - 1):\n        yield i, i",
    "solution": "import sys\n\ndef pairs(n):\n    for i in range(n):\n        yield i, i",
    "docstring": '"""\nPairs.\n\nInput:\n    n: "how many"\n"""',
    "tests": "assert list(pairs(*[2])) == [(0, 0), (1, 1)]\nassert list(pairs(*[0])) == []",
}
ROOT: dict[str, Any] = {
    "name": "root",
    "buggy_program": "def root(x, epsilon): return 1",
    "solution": "def root(x, epsilon): return x ** 0.5 + epsilon / 2",
    "docstring": '"""Root."""',
    "tests": "assert root(1, 0.1) > 1\nassert root(4, 0.1) > 2",
}
FIX: dict[str, Any] = {
    "task_id": "Python/7",
    "prompt": '\n\ndef same(x):\n    """ Same.\n    """\n',
    "canonical_solution": "    return x\n",
    "buggy_solution": "    return -x\n",
    "test": "def check(same):\n    assert same(0) == 0\n    assert same(1) == 1\n\ncheck(same)",
    "example_test": "def check(same):\n    assert same(2) == 2\ncheck(same)",
    "entry_point": "same",
}


def _quixbugs(folder: Path, *rows: Any, cases: dict[str, str] | None = None) -> QuixBugs:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "quixbugs_python.jsonl").write_text(lines, encoding="utf-8")
    (folder / "json_testcases").mkdir()
    for name, text in (cases or {}).items():
        (folder / "json_testcases" / f"{name}.json").write_text(text)
    return QuixBugs(data=str(folder), timeout=1)


def _fix(folder: Path, *rows: Any) -> HumanEvalFix:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "python.jsonl").write_text(lines, encoding="utf-8")
    return HumanEvalFix(data=str(folder))


def _right_and_wrong(task: GenerationTask) -> None:
    for chat in (True, False):
        right = scores(task, partial(_answer, which="fixed", chat=chat), chat)
        assert share(right, "correct") == share(right, "plausible") == 1
        assert share(right, "exact_match") == 1
        wrong = scores(task, partial(_answer, which="buggy", chat=chat), chat)
        assert share(wrong, "correct") == share(wrong, "regression") == 0


def _answer(sample: Sample, which: str, chat: bool) -> str:
    """Return what a model would write: all of it, or what follows the head of the prompt."""
    bug = sample.meta["bug"]
    program = str(bug["before"] + bug[which])
    if chat:
        return program
    assert program.startswith(sample.meta["head"].rstrip())
    return program[len(sample.meta["head"].rstrip()) :]


def test_programs_of_quixbugs(tmp_path: Path) -> None:
    cases = {"pairs": "[[3], [[0, 0], [1, 1], [2, 2]]]\n\n[[2], [[0, 0], [1, 1]]]\n",
             "root": "[[9, 0.5], 3.0]\n"}  # fmt: skip
    task = _quixbugs(tmp_path, PROGRAM, ROOT, cases=cases)
    checks = {s.id: len(s.meta["bug"]["suite"]["checks"]) for s in task.items()}
    assert checks == {"pairs": 3, "root": 3}, "a case that an assertion covers stands once"
    _right_and_wrong(task)


def test_a_result_beyond_the_tolerance_is_wrong(tmp_path: Path) -> None:
    task = _quixbugs(tmp_path, ROOT, cases={"root": "[[9, 0.5], 3.0]\n"})
    rough = scores(task, lambda _: "def root(x, e): return x ** 0.5 + 0.6")
    assert share(rough, "correct") == 0


def test_documentation_becomes_a_docstring() -> None:
    found = documented(PROGRAM["solution"], "pairs", PROGRAM["docstring"])
    space: dict[str, Any] = {}
    exec(found, space)
    assert 'n: "how many"' in space["pairs"].__doc__
    assert documented("def f(x): return x", "f", '"""Doc."""').count("Doc.") <= 1


def test_functions_of_humanevalfix(tmp_path: Path) -> None:
    task = _fix(tmp_path, FIX, {**FIX, "task_id": "Python/8", "example_test": "  no test"})
    _right_and_wrong(task)
    first, second = task.items()
    assert "assert same(2) == 2" in first.messages[0]["content"]
    assert "assert same(1) == 1" not in first.messages[0]["content"]
    assert second.meta["bug"]["visible"] == [0]
    assert task.notes() == [
        "humanevalfix: no readable examples in 008; a check of the test is shown"
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "is no JSON"),
        ({**PROGRAM, "solution": 3}, "lacks the text 'solution'"),
        ({**PROGRAM, "solution": "def other(): pass"}, "no function pairs"),
        ({**PROGRAM, "buggy_program": "def pairs("}, "cannot be read as Python"),
        ({**PROGRAM, "tests": "assert ("}, "cannot be read as Python"),
        ({**PROGRAM, "tests": "x = 1"}, "fewer than two"),
    ],
)
def test_a_broken_line_of_quixbugs_is_named(tmp_path: Path, row: Any, says: str) -> None:
    task = _quixbugs(tmp_path, PROGRAM, row)
    with pytest.raises(BrokenInput, match=says) as caught:
        task.items()
    assert caught.value.place == f"{tmp_path / 'quixbugs_python.jsonl'}:2"


@pytest.mark.parametrize("line", ["{", "[1]", "5", "[" * 5_000])
def test_a_broken_case_is_named(tmp_path: Path, line: str) -> None:
    task = _quixbugs(tmp_path, PROGRAM, cases={"pairs": f"[[0], []]\n{line}\n"})
    with pytest.raises(BrokenInput, match="no JSON list") as caught:
        task.items()
    assert caught.value.place.endswith("pairs.json:2")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("[]", "is no JSON object"),
        ({**FIX, "buggy_solution": "    return ("}, "cannot be read as Python"),
        ({**FIX, "test": "def check(same): pass"}, "asserts nothing"),
        ({**FIX, "entry_point": "other"}, "no function other"),
    ],
)
def test_a_broken_line_of_humanevalfix_is_named(tmp_path: Path, row: Any, says: str) -> None:
    task = _fix(tmp_path, FIX, row)
    with pytest.raises(BrokenInput, match=says) as caught:
        task.items()
    assert caught.value.place == f"{tmp_path / 'python.jsonl'}:2"


@pytest.mark.parametrize(
    ("task", "file"), [(QuixBugs, "quixbugs_python.jsonl"), (HumanEvalFix, "python.jsonl")]
)
def test_missing_data_say_what_and_where_from(tmp_path: Path, task: Any, file: str) -> None:
    for place in ("", str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(UsageError) as caught:
            task(data=place).items()
        assert file in caught.value.cause + caught.value.cure or "no such folder" in str(
            caught.value
        )
        assert "from" in caught.value.cure
