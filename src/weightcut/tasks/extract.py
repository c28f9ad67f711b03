"""From a model's answer to the code in it; one place for all tasks, since it moves scores a lot.

The rules, in order:

1. Code stands in Markdown fences, if there are any (the last one may be unclosed, as in an answer
   that met its token limit). Of several blocks the first that defines the wanted function is taken,
   else the first block.
2. Without a fence, code starts at the first line that looks like the start of a definition or an
   import; prose before it is dropped. An answer without such a line is taken as the function's body
   and put under the prompt.
3. What the prompt gives before the wanted function (imports, helper functions) is put in front.
4. What runs is the longest run of leading lines that parses and still defines the function: prose
   after the code, or a last line that was cut off, does no harm. `code` is kept as it was written.
"""

from __future__ import annotations

import re
import textwrap
from typing import NamedTuple

from weightcut.metrics.parses import python_error

_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n`]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_START = re.compile(r"^(?:def |class |import |from \w[\w.]* import |@\w|async def )", re.MULTILINE)
_DOCSTRING = re.compile(r'^[ \t]*[rRuU]?("""|\'\'\').*?\1[ \t]*(?:\n|\Z)', re.DOTALL | re.MULTILINE)
_LONGEST = 2_000  # lines; a longer answer is rambling, and each cut costs a parse


class Extracted(NamedTuple):
    """The code of an answer as it was written, and the program that runs."""

    code: str
    program: str


def extract_python(answer: str, prompt: str, entry_point: str) -> Extracted:
    """Return the code in an answer to a HumanEval-like prompt (a signature with its docstring)."""
    answer = answer.replace("\r\n", "\n").replace("\x00", "")
    code = _fenced(answer, entry_point)
    if code is None:
        start = _START.search(answer)
        code = answer[start.start() :] if start else _as_body(answer, prompt)
    elif not defines(code, entry_point) and not _START.search(code):
        code = _as_body(code, prompt)
    code = code.strip("\n")
    return Extracted(code, preamble(prompt, entry_point) + runnable(code, entry_point) + "\n")


def complete_python(answer: str, prompt: str, entry_point: str) -> Extracted:
    """Return the code of a plain completion: the prompt and what the model wrote after it."""
    code = (prompt + answer.replace("\x00", "")).strip("\n")
    return Extracted(code, runnable(code, entry_point) + "\n")


def defines(code: str, name: str) -> bool:
    """Return whether the text has a definition of a function of that name."""
    return (
        re.search(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", code, re.M) is not None
    )


def preamble(prompt: str, entry_point: str) -> str:
    """Return what a prompt gives before the function that it asks for."""
    head, found, _ = prompt.rpartition(f"def {entry_point}")
    return head.lstrip("\n") if found else ""


def runnable(code: str, entry_point: str) -> str:
    """Return the longest leading lines that parse and define the function, else all of them."""
    lines = code.split("\n")[:_LONGEST]
    end = len(lines)
    while end > 0:
        text = "\n".join(lines[:end])
        line = _broken_line(text)
        if line is None:
            return text if defines(text, entry_point) else code
        end = min(end - 1, line)
    return code


def strip_docstrings(code: str) -> str:
    """Return the code without texts in triple quotes that stand as statements, parsed or not."""
    return _DOCSTRING.sub("", code)


def _broken_line(text: str) -> int | None:
    """Return None for valid Python, else the number of leading lines that may still be valid."""
    error = python_error(text)
    if error is None:
        return None
    # The line of an unclosed bracket or string is where it opens: the line to cut at.
    line = error.lineno if isinstance(error, SyntaxError) else None
    return max(0, (line or text.count("\n") + 1) - 1)


def _fenced(answer: str, entry_point: str) -> str | None:
    blocks = [match[2] for match in _FENCE.finditer(answer)]
    blocks = [block for block in blocks if block.strip()]
    return next(
        (block for block in blocks if defines(block, entry_point)), blocks[0] if blocks else None
    )


def _as_body(answer: str, prompt: str) -> str:
    body = answer.strip("\n")
    if body and not body[0].isspace():
        body = textwrap.indent(body, "    ")
    return prompt.rstrip("\n") + "\n" + body
