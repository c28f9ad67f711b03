"""Answer extraction, on the shapes that answers take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.metrics.parses import compiles, parses
from weightcut.tasks.extract import (
    complete_python,
    defines,
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
    "longer fence": f"````python\n{BODY}\n````",
    "fence in a fence": f"````markdown\n# Answer\n```python\n{BODY}\n```\n````",
    "Markdown in a fence": f"```markdown\nHere:\n\n~~~python\n{BODY}\n~~~\n```",
    "fence opened twice": f"```python\n```python\n{BODY}\n```",
    "prose behind the opened fence": f"```python\nSure, here it is:\n```python\n{BODY}\n```",
    "empty block first": f"```python\n```\n{BODY}\n",
    "attributes": f"``` {{.python}} numbered\n{BODY}\n```",
    "other language first": f"```java\nint add;\n```\n```python\n{BODY}\n```",
    "example fenced, code not": f"```\nadd(1, 2)\n```\n{BODY}\n",
    "one line in backticks": "Use `def add(a, b): return a + b` for that.",
    "one line in a fence": "```python def add(a, b): return a + b```",
    "block indented": "```python\n    def add(a, b):\n        return a + b\n```",
    "old Mac line ends": f"```python\n{BODY}\n```".replace("\n", "\r"),
    "byte order mark": f"\ufeff{BODY}",
    "NUL": BODY.replace("return", "re\0turn"),
    "reasoning first": f"<think>\n```python\ndef add(a, b): pass\n```\n</think>\n{BODY}",
    "prompt repeated": f"```python\n{PROMPT}    return a + b\n```",
    "prompt repeated without a fence": f"{PROMPT}    return a + b\n",
    "tabs": "\treturn a + b",
    "tabs and spaces": "    total = a\n\ttotal += b\n\treturn total",
    "first line lost its indentation": "total = a\n    total += b\n    return total",
    "compound first line": "if a:\n        return a + b\n    return b",
    "import in the body": "import math\nreturn math.floor(a) + b",
    "body after prose": "You can add them:\n\n    return a + b\n",
    "body cut off": "    total = a + b\n    return total\n    print(total,",
    "wrong example": f"```python\n{BODY}\n\nassert add(1, 2) == 4\nprint(add())\n```",
    "reads input": f"{BODY}\n\nx = int(input())\nprint(add(x, x))",
    "main": f'{BODY}\n\nif __name__ == "__main__":\n    raise SystemExit',
    "value below": "def add(a, b):\n    return a + b + ZERO\n\nZERO = 0\nprint(ZERO)",
    "value above": "ZERO = 0\ndef add(a, b):\n    return a + b + ZERO",
    "an assignment": "add = lambda a, b: a + b",
    "an assignment in a fence": "```python\nadd = lambda a, b: a + b\n```",
    "a table filled below": (
        "def add(a, b):\n    return SUM[a, b]\n\nSUM = {}\nfor i in range(9):\n"
        "    for j in range(9):\n        SUM[i, j] = i + j\n\n"
        "for k in range(3):\n    print(add(k, k))"
    ),
    "a list changed below": (
        "def add(a, b):\n    return a + b + ZEROS[0]\n\nZEROS = [1]\nZEROS[0] = 0\nprint(ZEROS)"
    ),
    "missing import": "def add(a, b):\n    return int(math.fsum([a, b]))",
    "missing typing": "def add(a: Optional[int], b: Dict) -> Tuple:\n    return a + b",
    "missing collections": "def add(a, b):\n    return sum(deque([a, b]))",
    "future": f"```python\nfrom __future__ import annotations\n\n{BODY}\n```",
    "helper in another block": (
        "```python\ndef plus(a, b):\n    return a + b\n```\nThen:\n"
        "```python\ndef add(a, b):\n    return plus(a, b)\n```"
    ),
    "written twice": f"def add(a, b):\n    return 0\n\n{BODY}",
    "word after the code": f"{BODY}\n\nDone",
    "label after the code": f"{BODY}\n\nExplanation: it_adds",
    "fence in the docstring": (
        '```python\ndef add(a, b):\n    """Add.\n\n    ```\n    add(1, 2)\n    ```\n    """\n'
        "    return a + b\n```"
    ),
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


def test_an_answer_that_says_nothing_is_nothing() -> None:
    for answer in ("", "   \n\t\n", "\0", "```python\n", "```\n\n```"):
        assert not extract_python(answer, PROMPT, "add").code.strip()


def test_prose_is_not_put_under_the_prompt() -> None:
    found = extract_python("I cannot help with that, sorry.", PROMPT, "add")
    assert "def add" not in found.code


def test_code_that_was_shown_is_not_taken_for_the_answer() -> None:
    shown = "def add(a, b):\n    return a - b"
    quoted = f"The bug is here:\n```python\n{shown}  # wrong\n```\nMended:\n```python\n{BODY}\n```"
    quoted = quoted.replace("  # wrong", "")
    assert extract_python(quoted, PROMPT, "add").code == shown
    assert extract_python(quoted, PROMPT, "add", shown=shown).code == BODY
    only = f"```python\n{shown}\n```"
    assert extract_python(only, PROMPT, "add", shown=shown).code == shown


def test_a_plain_completion_in_a_fence_is_no_continuation() -> None:
    assert complete_python(f"```python\n{BODY}\n```", PROMPT, "add").code == BODY


HOSTILE = {
    "10 MB of letters": "a" * 10_000_000,
    "10 MB of lines": "x = 1\n" * 1_700_000,
    "10 MB of fences": "```python\n" * 1_000_000,
    "10 MB of backticks": "`" * 10_000_000,
    "10 MB of one-line spans": "`def add " * 1_100_000,
    "10 MB of spaces": "```" + " " * 10_000_000 + "`",
    "10 MB of quotes": '""" x\n' * 1_600_000,
    "10 MB of brackets": "(" * 10_000_000,
    "sum without end": "def add(a, b):\n    return " + "1+" * 40_000 + "1",
    "nested lists": "x = " + "[" * 40_000,
    "nested blocks": "".join(" " * i + "if x:\n" for i in range(90)),
    "decorators": "@a\n" * 3_000,
    "growing fences": "".join("`" * (3 + i) + "\n" for i in range(1_000)),
    "lone surrogates": "def add(a, b):\n    return '\ud800\udfff'",
    "controls": "".join(map(chr, range(32))) * 100,
    "thoughts": "</think>" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_end(name: str) -> None:
    found = extract_python(HOSTILE[name], PROMPT, "add")
    complete_python(HOSTILE[name], PROMPT, "add")
    strip_docstrings(found.code)
    assert len(found.code) <= 2_000_000, "a quadratic step would take hours"


def test_rambling_costs_no_more_than_its_first_lines() -> None:
    lines = "\n".join(f"    x{i} = (" for i in range(5_000))
    assert runnable(f"def add(a, b):\n{lines}", "add")


PIECES = st.sampled_from(
    ["```python\n", "```\n", "~~~\n", "def add(a, b):\n", "    return a\n", "\treturn (\n", "\r\n",
     "import x\n", '"""', "    ", "@f\n", "class A:\n", "<think>", "</think>", "prose. ", "\0",
     "from __future__ import annotations\n", "assert add(", "if x:\n", "`def add(): 1`"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_mixture_gives_a_program_that_is_no_worse(text: str) -> None:
    found = extract_python(text, PROMPT, "add")
    assert "\x00" not in found.program
    if compiles(found.code) and defines(found.code, "add"):
        assert compiles(found.program)


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
