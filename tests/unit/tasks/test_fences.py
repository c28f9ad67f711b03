"""Fenced blocks in Markdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weightcut.tasks.fences import Block, clean, code_block, take_apart


def test_blocks_and_what_stands_around_them() -> None:
    text = "one\n```py\na = 1\n```\ntwo\n~~~ Java x\nint b;\n~~~\nthree"
    found = take_apart(text)
    assert found.blocks == [Block("py", "a = 1"), Block("java", "int b;")]
    assert found.outside == "one\ntwo\nthree"


def test_a_fence_ends_at_its_own_kind_only() -> None:
    assert take_apart("````\n```\nx\n```\n````").blocks == [Block("", "```\nx\n```")]
    assert take_apart("~~~\n```\n~~~").blocks == [Block("", "```")]
    deep = '```\ndef f():\n    """\n    ```\n    """\n```'
    assert take_apart(deep).blocks == [Block("", deep[4:-4])]


def test_a_block_in_a_list_loses_the_indentation_of_its_fence() -> None:
    assert take_apart("1. x\n   ```\n   a\n     b\n   ```").blocks == [Block("", "a\n  b")]


def test_an_answer_is_cleaned() -> None:
    assert clean("\ufeffa\r\nb\rc\0d") == "a\nb\ncd"
    assert clean("<think>x</think>y") == "y"
    assert clean("x</think>  ") == "x</think>  "


def test_one_block_of_a_language() -> None:
    text = "```sh\nmake\n```\n```C#\nint a;\n```"
    assert code_block(text, "c#", "csharp") == "int a;"
    assert code_block(text) == "make"
    assert code_block("int a;\n") == "int a;"


@given(st.text(alphabet="`~ \n\tab", max_size=200))
def test_no_line_of_code_is_lost_or_invented(text: str) -> None:
    found = take_apart(text)
    kept = [line.strip() for line in found.outside.split("\n")]
    kept += [line.strip() for block in found.blocks for line in block.code.split("\n")]
    for line in text.split("\n"):
        if "`" not in line and "~" not in line and line.strip():
            kept.remove(line.strip())
    assert all("`" in line or "~" in line or not line for line in kept)
