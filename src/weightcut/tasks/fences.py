"""Blocks of code in a text written as Markdown, and the text around them."""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST = 1_000_000
"""Characters of an answer that are read at all: no one writes more, a broken model may."""
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)")
_SPAN = re.compile(r"(?<!`)`{1,3}(?!`)(?:python3?|py)?[ \t]*((?:async )?def [^`\n]+)`")
_MARKUP = ("markdown", "md")
_INDENT = 3  # columns that a fence may be indented more than the one it closes (CommonMark)


class Block(NamedTuple):
    """A fenced block: the word after its fence in lower case, and the code without the fences."""

    language: str
    code: str


class Text(NamedTuple):
    """A text taken apart: its blocks in order, and the lines that stand in none."""

    blocks: list[Block]
    outside: str


def clean(answer: str) -> str:
    """Return an answer cut to LONGEST with plain line ends, without NUL, mark and reasoning."""
    text = answer[:LONGEST].replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    # A reasoning model thinks aloud first; what it thinks is not its answer.
    _, thought, rest = text.rpartition("</think>")
    return (rest if thought and rest.strip() else text).removeprefix("\ufeff")


def take_apart(text: str) -> Text:
    """Return the fenced blocks of a text, in linear time.

    CommonMark's rules (a block ends at a fence of the same sign, at least as long, or at the end of
    the text), with two habits of language models heeded: a fence with a language inside a block
    begins a new one, and a block of Markdown is taken apart in turn (once). Blank blocks are left
    out.
    """
    found = _scan(text)
    blocks: list[Block] = []
    for block in found.blocks:
        inner = _scan(block.code).blocks if block.language in _MARKUP else []
        blocks += inner or [block]
    return Text(blocks, found.outside)


def _scan(text: str) -> Text:
    blocks: list[Block] = []
    outside: list[str] = []
    inside: list[str] | None = None
    indent, mark, language = 0, "", ""

    def close() -> None:
        if inside is not None and any(line.strip() for line in inside):
            blocks.append(Block(language, "\n".join(_unindented(inside, indent))))

    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line) if line.lstrip(" \t")[:3] in ("```", "~~~") else None
        if fence is None or (inside is not None and _is_content(fence, indent, mark)):
            (outside if inside is None else inside).append(line)
            continue
        close()
        words = fence[3].split()
        if inside is not None and not words:
            inside = None
            continue
        inside, indent, mark = [], len(fence[1].expandtabs()), fence[2]
        language = words[0].strip("{.}").lower() if words else ""
    close()
    return Text(blocks, "\n".join(outside))


def _is_content(fence: re.Match[str], indent: int, mark: str) -> bool:
    """Return whether a line like a fence neither ends the open block nor begins another."""
    other = fence[2][0] != mark[0] or len(fence[2]) < len(mark)
    return other or len(fence[1].expandtabs()) > indent + _INDENT


def _unindented(lines: list[str], indent: int) -> list[str]:
    """Return the lines without up to `indent` blanks at their start (a fence inside a list)."""
    if not indent:
        return lines
    return [line[min(indent, len(line) - len(line.lstrip(" "))) :] for line in lines]


def spans(text: str) -> list[str]:
    """Return the function definitions that stand on one line between backticks."""
    return [match[1].strip() for match in _SPAN.finditer(text)]


def code_block(answer: str, *languages: str) -> str:
    """Return the first block of one of the languages, else the first block, else all the text.

    For languages of which no more is known; Python has `weightcut.tasks.extract`.
    """
    text = clean(answer)
    blocks = take_apart(text).blocks
    named = [block for block in blocks if block.language in languages]
    chosen = next(iter(named or blocks), None)
    return (chosen.code if chosen else text).strip("\n")
