from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from weightcut.routing.server.shadow import judge
from weightcut.routing.signals import parses, passes, read_signals, visible_tests

PROMPT = '''def twice(x):
    """Return it twice.

    >>> twice(2)
    4
    >>> twice("a")
    'aa'
    >>> twice(None)
    Traceback (most recent call last):
    TypeError
    >>> y = 3
    >>> twice(y).__class__
    <class 'int'>
    """
'''
RIGHT = "Here:\n```python\ndef twice(x):\n    return x + x\n```\n"
WRONG = "```python\ndef twice(x):\n    return 2\n```"


def test_doctests_and_assertions_of_a_prompt_are_its_tests() -> None:
    tests = visible_tests(PROMPT + "\nYour code should pass:\nassert twice(0) == 0\n")
    assert "twice(2)" in tests
    assert "assert twice(0) == 0" in tests
    assert "None" not in tests
    assert "(y)" not in tests
    assert visible_tests("Sort a list.") == ""


@given(st.text(alphabet=">. \nx=(1)'\"\\t:assert", max_size=200))
def test_whatever_a_prompt_holds_its_tests_are_python(prompt: str) -> None:
    assert parses(visible_tests(prompt))


def test_answers_say_whether_they_parse_and_pass() -> None:
    prompt = PROMPT.split(">>> twice(None)")[0] + '    """\n'
    assert read_signals(prompt, "prose", -0.1).parses is None
    assert read_signals(prompt, "```python\ndef f(:\n```", -0.1).parses is False
    right = read_signals(prompt, RIGHT, -0.1)
    if right.tests_passed is None:
        pytest.skip("this machine has no sandbox")
    assert (right.mean_logprob, right.parses, right.tests_passed) == (-0.1, True, True)
    assert read_signals(prompt, WRONG, None).tests_passed is False
    assert judge(prompt, {"light": WRONG, "full": RIGHT}) == {"light": 0.0, "full": 1.0}


def test_no_tests_say_nothing() -> None:
    assert passes("x = 1", "") is None


def test_tests_are_found_between_fences_and_behind_arrows() -> None:
    prompt = """Complete this.

```python
def add(x, y):
    '''Add.
    >>> add(1, 2)  # plain
    3
    >>> [add(i, 1) for i in range(2)]
    [1, 2]

    add(2, 2) => 4
    add(a, b) == 9
    '''
```"""
    assert visible_tests(prompt).splitlines() == [
        "assert add(1, 2) == 3",
        "assert [add(i, 1) for i in range(2)] == [1, 2]",
        "assert add(2, 2) == 4",
    ]
