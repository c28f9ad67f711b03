"""The parts that stand in for CPython: its tokenizer of 3.11 and the order of its sets."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tokenize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weightcut.metrics.code.set_order import in_set_order, string_hash
from weightcut.metrics.code.stripping import strip_comments

only_3_11 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="compares with CPython 3.11, which this is not"
)
PIECES = """x|= 1| |    |\n|\n    |\n        |# note|(|)|[|]|def f():
'|"|"doc"|'''d\n'''|r'a'|b'\\'x'
é|\r\n|;|if a:|\n'''doc'''\n|f'{x}'|\n\n|?"""
pieces = st.sampled_from([*PIECES.split("|"), '"""two\n\nlines"""'])


def with_tokenizer(text: str) -> str:
    """Strip with the tokenizer, rule by rule as the package does."""
    out = ""
    before = tokenize.INDENT
    last_line, last_column = -1, 0
    try:
        for kind, token, start, end, _ in tokenize.generate_tokens(io.StringIO(text).readline):
            if start[0] > last_line:
                last_column = 0
            out += " " * (start[1] - last_column)
            docstring = kind == tokenize.STRING and (
                before in (tokenize.INDENT, tokenize.NEWLINE) or start[1] == 0
            )
            if kind != tokenize.COMMENT and not docstring:
                out += token
            before, (last_line, last_column) = kind, end
    except (tokenize.TokenError, IndentationError):
        return text
    return "\n".join(line for line in out.split("\n") if line.strip())


@only_3_11
@settings(max_examples=400)
@given(st.lists(pieces, max_size=25).map("".join))
@example("def f():\n    '''doc'''\n    # note\n\n    'kept' # why\n    return [  # a\n'dropped']")
@example("x = 'a\\\nb' # c\ny = (1, # d\n 2)")
def test_strips_python_as_the_tokenizer_does(text: str) -> None:
    text = text.strip()
    stripped, expected = strip_comments(text, "python"), with_tokenizer(text)
    blank = [line for line in stripped.split("\n") if line.strip()]
    assert blank == [line for line in expected.split("\n") if line.strip()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int x; // note\nint y;", "int x;  \nint y;"),
        ("a /* b\nc */ d", "a   d"),
        ('s = "// no"; // yes', 's = "// no";  '),
        ("c = '\\''; /* x */", "c = '\\'';  "),
        ("it's // note", "it's  "),
        ("a /* open", "a /* open"),
        ("a / b", "a / b"),
    ],
)
def test_strips_comments_of_the_other_languages(text: str, expected: str) -> None:
    assert strip_comments(text, "java") == expected


@only_3_11
def test_knows_the_order_of_sets() -> None:
    program = (
        "import json, sys\n"
        "print(json.dumps([[list(set(names)), list(map(hash, names))]\n"
        "                  for names in json.load(sys.stdin)]))"
    )
    import json
    import random

    generator = random.Random(1)
    letters = "abcdefxyz_01é€😀"
    cases = [
        ["".join(generator.choices(letters, k=generator.randrange(18))) for _ in range(size)]
        for size in [*range(40), 200, 1000]
    ]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(cases),
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    for names, (ordered, hashes) in zip(cases, json.loads(done.stdout), strict=True):
        assert list(in_set_order(names)) == ordered
        assert [string_hash(name) for name in names] == [value % 2**64 for value in hashes]
