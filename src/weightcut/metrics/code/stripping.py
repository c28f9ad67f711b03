"""Taking comments and docstrings out of a text the way `codebleu` 0.7.0 does it.

For Python that package goes through Python's own tokenizer as it was up to 3.11, and keeps the
text as it is where that finds an error; the scanner here comes to the same text without making
tokens, on every version of Python. For other languages it is one regular expression.
"""

from __future__ import annotations

import re

_OPEN = re.compile(r"(?:[bB][rR]?|[rR][bBfF]?|[uU]|[fF][rR]?)?(\"\"\"|'''|\"|')")
_STOP = re.compile(r"[#\"'()\[\]{}\\\r]")
_REST = {
    '"""': re.compile(r'[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""', re.DOTALL),
    "'''": re.compile(r"[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''", re.DOTALL),
    '"': re.compile(r'[^\n"\\]*(?:\\.[^\n"\\]*)*("|\\\r?\n)'),
    "'": re.compile(r"[^\n'\\]*(?:\\.[^\n'\\]*)*('|\\\r?\n)"),
}
