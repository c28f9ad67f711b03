"""Tests taken apart into checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.tasks.python_tests import Suite, passing, read_suite, run_against, split_checks

HUMANEVAL = """
METADATA = {}

def check(candidate):
    import math
    assert candidate(1) == 1, "message"
    assert True, "never fails"
    for i in range(3):
        assert candidate(i) == i
    wanted = 4
    assert math.floor(candidate(4)) == wanted

check(same)
"""


def test_the_body_of_check_is_taken_apart() -> None:
    suite = read_suite(HUMANEVAL, "same")
    assert [suite.steps[number].split("\n")[0] for number in suite.checks] == [
        "assert same(1) == 1",
        "for i in range(3):",
        "assert math.floor(same(4)) == wanted",
    ]
    assert "import math\n" in suite.test([])
    assert "assert" not in suite.test([])
    assert run_against("def same(x): return x", suite.test(), "same", 5).status == "passed"


def test_functions_that_test_are_checks_where_they_are_called() -> None:
    suite = read_suite("def test1():\n    assert f(1)\ntest1()\nassert f(2)\nf(3)", "f")
    assert [suite.steps[number] for number in suite.checks] == ["test1()", "assert f(2)"]


def test_a_test_that_is_no_python() -> None:
    with pytest.raises(SyntaxError):
        read_suite("assert (", "f")


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("def same(x): return x", (2, 3, 5)),
        ("def same(x): return 1", (2,)),
        ("def same(x): return 1 // x", (2,)),
        ("def same(x):\n    while x == 4: pass\n    return x", (2, 3)),
        ("def same(x):\n    raise SystemExit", ()),
        ("def same(", ()),
    ],
)
def test_which_checks_a_program_passes(program: str, passed: tuple[int, ...]) -> None:
    assert passing(program, read_suite(HUMANEVAL, "same"), "same", 0.3) == passed


def test_a_function_named_like_one_of_pythons() -> None:
    assert run_against("def sum(a, b): return a + b", "assert sum(1, 2) == 3", "sum", 5).status == (
        "passed"
    )


@given(st.integers(2, 30), st.text(max_size=5), st.integers(0, 3), st.data())
def test_checks_are_split_in_a_seeded_way(
    count: int, label: str, seed: int, data: st.DataObject
) -> None:
    suite = Suite(steps=tuple(map(str, range(count))), checks=tuple(range(count)))
    failing = data.draw(st.lists(st.sampled_from(suite.checks), unique=True))
    visible, hidden = split_checks(suite, label, seed, failing)
    assert sorted((*visible, *hidden)) == list(suite.checks)
    assert hidden
    assert 1 <= len(visible) <= 3
    assert not failing or set(visible) & set(failing)
    assert split_checks(suite, label, seed, failing) == (visible, hidden)
