"""The code blocks of README, CONTRIBUTING and docs/, and what becomes of each in the tests.

The rules, which leave no block out:

- A fenced block says its language. `text` is shown and not tested (output, formulas, layouts).
- An indented block is `sh`.
- `sh`: every line is parsed against what it calls: weightcut's own command line, the Makefile, the
  extras of pyproject.toml, files, and the server's paths. A comment in front of the block changes
  that: `<!-- run -->`: its weightcut commands are run, too, in a prepared folder.
  `<!-- outside: WHY -->`: it also calls what is not the project's (docker, openssl).
  `<!-- parsed: WHY -->`: parsed only, and why; the same as without, said to the reader.
- `python` is run, the blocks of a page one after the other in one namespace and a prepared folder.
- `yaml` is checked as what its keys say: a study (or part of one), a price file, a server's config.
- `json` and `toml` are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
LANGUAGES = ("text", "sh", "python", "yaml", "json", "toml")
_COMMENT = re.compile(r"<!--\s*(run|parsed|outside|served)(?::\s*(.*?))?\s*-->")


@dataclass(frozen=True)
class Block:
    """A code block. line: its first line in the page, from 1. mark: what stands before it."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Return every page whose blocks are tested."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def blocks() -> list[Block]:
    """Return every block of every page."""
    return [block for page in pages() for block in blocks_of(page)]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    yield from parse(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))


def parse(text: str, page: str) -> Iterator[Block]:
    """Yield the blocks of a text."""
    mark = ""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type in ("fence", "code_block") and token.map is not None:
            language = token.info.strip() if token.type == "fence" else "sh"
            yield Block(page, token.map[0] + 1, language, token.content, mark)
        if token.type == "html_block":
            found = _COMMENT.search(token.content)
            mark = found[1] if found else ""
        elif token.level == 0 and token.type in ("fence", "code_block", "paragraph_open"):
            mark = ""
