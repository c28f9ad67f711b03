"""From a model's answer to the code in it; one place for all tasks, since it moves scores a lot.

The rules for Python, in order:

1. Line ends become plain; NUL and what a reasoning model thought aloud (`<think>`) go.
2. Code stands in Markdown fences, if there are any (`weightcut.tasks.fences`; the last one may be
   unclosed, as in an answer that met its token limit). Of several blocks the first that defines
   the wanted function is taken, one that only repeats the code shown in the prompt last of all;
   then a definition outside the fences; then the first block.
3. Outside fences, code starts at the first line that looks like the start of a definition, an
   import or an assignment; prose before it is dropped.
4. An answer without the definition that can only be the inside of a function (it is indented, or
   returns at its outermost level) is put under the prompt, indented as fits.
5. What runs is the longest run of leading lines that parses and still defines the function: prose
   after the code, or a last line that was cut off, does no harm. Statements after the function
   that only use it (examples, assertions, prints) do not run.
6. What the prompt gives before the wanted function (imports, helper functions) is put in front;
   then other blocks that define names which the code lacks; then imports of the standard library
   for names that are still lacking (`weightcut.tasks.python_names`).

A function with another name than the one asked for is not mended. `code` is kept as it was
written: similarity and syntax are scored on what the model said, not on what was made of it.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from weightcut.metrics.parses import parse_python, python_error
from weightcut.tasks.fences import Block, Text, clean, spans, take_apart
from weightcut.tasks.python_names import (
    imports_for,
    lacking,
    top_level_names,
    without_usage,
)

_START = re.compile(
    r"^(?:(?:async[ \t]+)?def[ \t]+\w|class[ \t]+\w+[ \t]*[(:]|import[ \t]+\w[\w., \t]*$"
    r"|from[ \t]+[\w.]+[ \t]+import[ \t]|@\w|[A-Za-z_]\w*[ \t]*=[^=])",
    re.MULTILINE,
)
_DEFINITION = re.compile(r"^(?:(?:async[ \t]+)?def|class|import|from|@\w+)\b", re.MULTILINE)
_CODE_LINE = re.compile(r"^(?:[ \t]+\S|(?:return|for|while|if)\b)", re.MULTILINE)
_RETURNS = re.compile(r"^(?:return|yield)\b", re.MULTILINE)
_FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import[ \t].*$", re.MULTILINE)
_QUOTES = re.compile(r"^[ \t]*[rRuU]?(\"\"\"|''')", re.MULTILINE)
_LINES = 2_000
"""Lines of an answer that may run; a longer one is rambling, and each cut costs a parse."""
_CHARACTERS = 100_000
_CUTS = 32
"""Cuts made at the line of the error; after that the rest is halved."""


class Extracted(NamedTuple):
    """The code of an answer as it was written, and the program that runs."""

    code: str
    program: str


def extract_python(answer: str, prompt: str, entry_point: str, shown: str = "") -> Extracted:
    """Return the code in an answer that should define the function `entry_point`.

    prompt: what the answer goes on from or repeats, up to the function's docstring; may be empty.
    shown: code that the model was shown and may quote, such as the function to repair.
    """
    found = take_apart(clean(answer))
    code = _chosen(found, entry_point, shown).strip("\n")
    if not defines(code, entry_point) and _is_inside(code, entry_point):
        code = _under(prompt, code, entry_point)
    return Extracted(code, _program(code, prompt, entry_point, found.blocks))


def complete_python(answer: str, prompt: str, entry_point: str) -> Extracted:
    """Return the code of a plain completion: the prompt and what the model wrote after it."""
    text = clean(answer)
    if text.lstrip().startswith(("```", "~~~")):
        return extract_python(text, prompt, entry_point)
    code = (prompt + text).strip("\n")
    return Extracted(code, _program(code, "", entry_point, []))


def defines(code: str, name: str) -> bool:
    """Return whether the text has a definition of a function of that name."""
    return _definition(name).search(code) is not None


def preamble(prompt: str, entry_point: str) -> str:
    """Return what a prompt gives before the function that it asks for."""
    starts = [match.start() for match in _definition(entry_point).finditer(prompt)]
    return prompt[: starts[-1]].lstrip("\n") if starts else ""


def runnable(code: str, entry_point: str) -> str:
    """Return the longest leading lines that parse and define the function, else all of them."""
    kept = _prefix(code, entry_point)
    return code if kept is None else kept


def strip_docstrings(code: str) -> str:
    """Return the code without texts in triple quotes that stand as statements, parsed or not."""
    kept: list[str] = []
    at = 0
    while match := _QUOTES.search(code, at):
        end = code.find(match[1], match.end())
        if end < 0:
            break
        line_end = code.find("\n", end)
        line_end = len(code) if line_end < 0 else line_end + 1
        alone = not code[end + 3 : line_end].strip()
        kept.append(code[at : match.start() if alone else line_end])
        at = line_end
    return "".join(kept) + code[at:]


def _definition(name: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(name)}\b", re.MULTILINE)


def _chosen(found: Text, entry_point: str, shown: str) -> str:
    """Return the code of an answer: a block, what stands outside the blocks, or a span."""
    defining = [b.code for b in found.blocks if defines(b.code, entry_point)]
    new = [code for code in defining if not shown or _bare(code) != _bare(shown)]
    start = _START.search(found.outside)
    outside = found.outside[start.start() :] if start else found.outside
    if not new and defines(outside, entry_point):
        new = [outside]
    if new or defining:
        return _dedented((new or defining)[0], entry_point)
    inline = [code for code in spans(found.outside) if defines(code, entry_point)]
    if inline:
        return inline[0]
    python = [b for b in found.blocks if b.language in ("", "py", "python", "python3")]
    first = next(iter(python or found.blocks), None)
    return first.code if first else outside


def _bare(code: str) -> str:
    return "".join(strip_docstrings(code).split())


def _dedented(code: str, entry_point: str) -> str:
    """Return code that is indented as a whole without its indentation."""
    moved = textwrap.dedent(code) if code.lstrip("\n")[:1].isspace() else code
    return moved if defines(moved, entry_point) else code


def _is_inside(code: str, entry_point: str) -> bool:
    """Return whether code without the wanted definition can only be the inside of a function."""
    if not code.strip():
        return False
    tree = parse_python(code[:_CHARACTERS])
    if tree is not None and entry_point in top_level_names(tree):  # `add = lambda a, b: a + b`
        return False
    if code[0].isspace() or _RETURNS.search(code) or not _DEFINITION.search(code):
        return True
    error = python_error(code[:_CHARACTERS], compiled=True)
    said = str(error.msg) if isinstance(error, SyntaxError) else ""
    return "outside function" in said or said == "unexpected indent"


def _under(prompt: str, body: str, entry_point: str) -> str:
    """Return the prompt with a function's inside under it, indented so that most of it parses.

    Where nothing of it does, it was no code, and is returned as it is.
    """
    head = prompt.rstrip()
    options = [f"{head}\n{inside}" for inside in _indented(body)]
    kept = [len(_prefix(option, entry_point) or "") for option in options]
    return options[kept.index(max(kept))] if max(kept) > len(head) + 1 else body


def _indented(body: str) -> Iterator[str]:
    if body[0].isspace():
        yield body
    yield textwrap.indent(textwrap.dedent(body), "    ")
    yield "    " + body  # the first line alone has lost its indentation
    if match := _CODE_LINE.search(body):  # prose before it
        yield textwrap.indent(textwrap.dedent(body[match.start() :]), "    ")


def _program(code: str, prompt: str, entry_point: str, blocks: list[Block]) -> str:
    kept = _prefix(code, entry_point)
    if "\t" in code and (kept is None or len(kept) < len(code)):
        # Tabs after a prompt in spaces: the author saw them as wide as a level.
        spaced = _prefix(code.expandtabs(4), entry_point)
        kept = max(kept, spaced, key=lambda text: len((text or "").split("\n")))
    before = preamble(prompt, entry_point)
    tree = None if kept is None else parse_python(before + kept)
    if kept is None or tree is None:
        return before + code + "\n"
    kept = without_usage(kept, _parsed(kept), entry_point)
    tree = _parsed(before + kept)
    missing = lacking(tree)
    for block in blocks if missing else ():
        other = parse_python(block.code[:_CHARACTERS])
        if other is None or defines(block.code, entry_point):
            continue
        if missing & top_level_names(other):
            before += block.code.strip("\n") + "\n\n"
            missing = (missing | lacking(other)) - top_level_names(other)
    program = imports_for(missing) + before + kept + "\n"
    future = _FUTURE.findall(program)
    return "".join(f"{line}\n" for line in future) + _FUTURE.sub("", program)


def _parsed(code: str) -> ast.Module:
    tree = parse_python(code)
    return ast.Module([], []) if tree is None else tree


def _prefix(code: str, entry_point: str) -> str | None:
    """Return the longest leading lines that parse and define the function, None without any."""
    lines = code[:_CHARACTERS].split("\n")[:_LINES]
    end, cuts = len(lines), 0
    while end > 0:
        text = "\n".join(lines[:end])
        line = _broken_line(text)
        if line is None:
            return text if defines(text, entry_point) else None
        cuts += 1
        end = min(end - 1, line) if cuts < _CUTS else end // 2
    return None


def _broken_line(text: str) -> int | None:
    """Return None for valid Python, else the number of leading lines that may still be valid."""
    error = python_error(text)
    if error is None:
        return None
    # The line of an unclosed bracket or string is where it opens: the line to cut at.
    line = error.lineno if isinstance(error, SyntaxError) else None
    return max(0, (line or text.count("\n") + 1) - 1)
