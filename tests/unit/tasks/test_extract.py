"""Answer extraction, on the shapes that answers take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.metrics.parses import parses
from weightcut.tasks.extract import (
    complete_python,
    extract_python,
    preamble,
    runnable,
    strip_docstrings,
)

PROMPT = '''from typing import List


def helper(x):
    return x


def add(a: int, b: int) -> int:
    """Add two numbers.
    >>> add(1, 2)
    3
    """
'''
BODY = "def add(a: int, b: int) -> int:\n    return a + b"
ANSWERS = {
    "fenced": f"Here it is:\n```python\n{BODY}\n```\nHope this helps!",
    "fenced without a language": f"```\n{BODY}\n```",
    "tildes": f"~~~py\n{BODY}\n~~~",
    "indented fence": f"1. Code:\n   ```python\n{BODY}\n   ```",
    "unclosed fence": f"Sure.\n```python\n{BODY}",
    "no fence": f"Certainly!\n\n{BODY}\n",
    "no fence, prose after": f"{BODY}\n\nThis function adds two numbers, as you wanted.",
    "several blocks": f"```python\nadd(1, 2)\n```\nand\n```python\n{BODY}\n```",
    "examples first": f"```bash\npip install x\n```\n```python\n{BODY}\n```",
    "windows line ends": f"```python\r\n{BODY}\r\n```".replace("\n", "\r\n").replace("\r\r", "\r"),
    "body only": "    return a + b",
    "body only, not indented": "return a + b",
    "body in a fence": "```python\n    return a + b\n```",
    "last line cut off": f"```python\n{BODY}\n\n\nprint(add(1,",
    "tests after": f"```python\n{BODY}\n\nassert add(1, 2) == 3\n```",
    "decorated": f"```python\nimport functools\n\n@functools.cache\n{BODY}\n```",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_program_adds(name: str) -> None:
    program = extract_python(ANSWERS[name], PROMPT, "add").program
    space: dict[str, object] = {}
    exec(program, space)
    add = space["add"]
    assert callable(add)
    assert add(2, 3) == 5
    assert callable(space["helper"]), "what the prompt gives is put in front"


def test_code_is_kept_as_written() -> None:
    found = extract_python(f"```python\n{BODY}\nprint(\n", PROMPT, "add")
    assert found.code == f"{BODY}\nprint("
    assert not parses(found.code)
    assert found.program.endswith(f"{BODY}\n")


def test_a_wrong_name_is_not_mended() -> None:
    found = extract_python("```python\ndef plus(a, b):\n    return a + b\n```", PROMPT, "add")
    assert "def add" not in found.code
    assert found.code.startswith("def plus")


def test_completion_is_prompt_and_answer() -> None:
    found = complete_python("    return a + b\n", PROMPT, "add")
    assert found.code == PROMPT.strip("\n") + "\n    return a + b"
    space: dict[str, object] = {}
    exec(found.program, space)


def test_preamble_is_what_stands_before_the_function() -> None:
    assert preamble(PROMPT, "add").startswith("from typing import List")
    assert "def add" not in preamble(PROMPT, "add")
    assert preamble("x = 1", "add") == ""


def test_docstrings_go_whether_or_not_it_parses() -> None:
    assert strip_docstrings('def f():\n    """One.\n    Two.\n    """\n    return 1\n') == (
        "def f():\n    return 1\n"
    )
    assert '"""' not in strip_docstrings('def f(:\n    """x"""\n    return 1')


def test_rambling_costs_no_more_than_its_first_lines() -> None:
    lines = "\n".join(f"    x{i} = (" for i in range(5_000))
    assert runnable(f"def add(a, b):\n{lines}", "add")


@given(st.text(max_size=400))
def test_any_text_gives_some_program(text: str) -> None:
    found = extract_python(text, PROMPT, "add")
    assert isinstance(found.program, str)
    assert "\x00" not in found.program


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_fenced_answer_is_found_between_any_prose(before: str, after: str) -> None:
    clean = before.replace("`", "").replace("~", "").replace("\r", "")
    text = f"{clean}\n```python\n{BODY}\n```\n{after.replace('`', '').replace('~', '')}"
    assert extract_python(text, PROMPT, "add").code == BODY
