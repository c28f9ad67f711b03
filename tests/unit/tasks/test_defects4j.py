"""The adapter against a small `defects4j` of our own: one bug in one method, one in two."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path

import pytest

from weightcut.errors import NotHere, UsageError
from weightcut.records import Completion, Sample
from weightcut.tasks.defects4j import Defects4J, locate

FAKE = """#!{python}
import pathlib, re, sys

def java(sign, extra=""):
    return ("package org.x;\\n\\n/** Adds. */\\npublic class Sum {{\\n"
            "    private int seen;\\n\\n"
            "    public int sum(int[] values) {{\\n"
            "        int total = 0;\\n"
            "        for (int value : values) {{\\n"
            "            total %s value;\\n"
            "        }}\\n        return total;\\n    }}\\n\\n"
            "    public int seen() {{\\n        return seen%s;\\n    }}\\n}}\\n") % (sign, extra)

command, arguments = sys.argv[1], sys.argv[2:]
options = dict(zip(arguments, arguments[1:]))
work = pathlib.Path(options["-w"])
source = work / "src/org/x/Sum.java"
if command == "checkout":
    number, version = options["-v"][:-1], options["-v"][-1]
    if number not in "12":
        sys.exit("Error: no such bug")
    source.parent.mkdir(parents=True)
    fixed = version == "f"
    source.write_text(java("+=" if fixed else "-=", " + 1" if fixed and number == "2" else ""))
elif command == "export":
    print({{"classes.modified": "org.x.Sum", "dir.src.classes": "src",
           "tests.trigger": "org.x.SumTest::adds"}}[options["-p"]])
elif command == "compile":
    sys.exit("BUILD FAILED" if "syntax error" in source.read_text() else 0)
elif command == "test":
    text = source.read_text()
    if "outside" in text:  # an answer that tries to write where it must not
        pathlib.Path({outside!r}).write_text("got out")
    failing = []
    if "total += value" not in text:
        failing.append("org.x.SumTest::adds")
    if "return 0" in text:
        failing.append("org.x.SumTest::empty")
    print("Failing tests: %d" % len(failing))
    for name in failing:
        print("  - " + name)
    (work / "failing_tests").write_text("".join("--- %s\\n" % name for name in failing))
"""
RIGHT = """public int sum(int[] values) {
    int total = 0;
    for (int value : values) {
        total += value;
    }
    return total;
}"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    command = tmp_path / "d4j" / "framework" / "bin" / "defects4j"
    command.parent.mkdir(parents=True)
    outside = tmp_path / "outside.txt"
    command.write_text(FAKE.format(python=Path(sys.executable).resolve(), outside=str(outside)))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WEIGHTCUT_SANDBOX_ALLOW_WEAK", "1")
    return outside


def _values(task: Defects4J, sample: Sample, text: str) -> dict[str, float]:
    answer = Completion(
        request_id=sample.id, text=text, token_ids=(1, 2), token_times=(), finish_reason="stop"
    )
    return task.score(sample, answer, True).values


def test_a_bug_in_one_method_is_asked_and_another_is_left_out(installed: Path) -> None:
    task = Defects4J(bugs=("Lang-1", "Lang-2"))
    (sample,) = task.items()
    assert sample.id == "Lang-1"
    assert sample.reference.split() == RIGHT.split()
    prompt = sample.messages[0]["content"]
    assert "total -= value" in prompt
    assert "seen" not in prompt
    assert "org.x.SumTest::adds" in prompt
    assert task.notes() == ["defects4j: left out: Lang-2 does not lie in one method"]
    place = locate("Lang-1")
    assert place is not None
    assert place.buggy.startswith("public int sum")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RIGHT, {"passed": 1, "correct": 1, "plausible": 1, "regression": 0, "exact_match": 1}),
        (f"```java\n{RIGHT}\n```\nDone.", {"passed": 1, "exact_match": 1}),
        (f"class Sum {{\n{RIGHT}\n}}", {"passed": 1, "exact_match": 1}),
        (RIGHT.replace("+=", "-="), {"passed": 0, "plausible": 0, "regression": 0}),
        (
            RIGHT.replace("total;\n}", "total; // return 0\n}"),
            {"passed": 0, "plausible": 1, "correct": 0, "regression": 1},
        ),
        ("syntax error", {"passed": 0, "plausible": 0, "regression": 1, "parses": 0}),
        ("", {"passed": 0, "plausible": 0, "parses": 0}),
    ],
)
def test_scores(installed: Path, answer: str, expected: dict[str, float]) -> None:
    task = Defects4J(bugs=("Lang-1",))
    values = _values(task, task.items()[0], answer)
    assert {name: values[name] for name in expected} == expected


def test_an_answer_cannot_write_outside_its_copy(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    task = Defects4J(bugs=("Lang-1",))
    sample = task.items()[0]
    _values(task, sample, RIGHT + " // outside")
    assert not installed.exists()
    monkeypatch.setattr("weightcut.tasks.defects4j.shutil.which", lambda name: None)
    _values(task, sample, RIGHT + " // outside")
    assert installed.exists()


def test_without_an_installation_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    task = Defects4J()
    assert "rjust/defects4j" in (task.missing() or "")
    with pytest.raises(NotHere, match="no command `defects4j`"):
        task.items()


def test_without_bubblewrap_it_wants_to_be_told(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTCUT_SANDBOX_ALLOW_WEAK", "")
    monkeypatch.setenv("PATH", str(installed.parent / "d4j" / "framework" / "bin"))
    assert "bubblewrap" in (Defects4J().missing() or "")


def test_what_is_no_bug_is_refused(installed: Path) -> None:
    with pytest.raises(ValueError, match="no bug: write PROJECT-NUMBER"):
        Defects4J(bugs=("../../etc",))
    with pytest.raises(UsageError, match="no such bug"):
        Defects4J(bugs=("Lang-9",)).items()
