"""What an answer says about itself: how sure, does its code parse, does it pass visible tests."""

from __future__ import annotations

import ast
import re

from weightcut.routing.router import Signals

_FENCE = re.compile(r"```([\w+#-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_PYTHON = {"", "py", "python", "python3"}
_LONGEST = 50_000


def read_signals(_prompt: str, text: str, mean_logprob: float | None) -> Signals:
    """Return the signals of an answer; None where they say nothing."""
    code = python_code(text)
    return Signals(mean_logprob=mean_logprob, parses=None if code is None else parses(code))


def python_code(text: str) -> str | None:
    """Return the answer's longest Python code, or None where it holds none."""
    blocks: list[str] = [body for name, body in _FENCE.findall(text) if name.lower() in _PYTHON]
    if blocks:
        return max(blocks, key=len)
    return text if re.search(r"^\s*(def|class|import|from) ", text, re.MULTILINE) else None


def parses(code: str) -> bool:
    """Return whether code is Python, judged without running it."""
    if len(code) > _LONGEST:
        return False
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
