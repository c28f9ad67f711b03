"""What an answer says about itself: how sure, does its code parse, does it pass visible tests."""

from __future__ import annotations

import ast
import doctest
import re
from functools import cache

from weightcut.errors import WeightcutError
from weightcut.routing.router import Signals
from weightcut.routing.server import logs

_FENCE = re.compile(r"```([\w+#-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ASSERT = re.compile(r"^\s*(assert .+)$", re.MULTILINE)
_QUOTES = re.compile(r"^\s*(?:\"\"\"|''')", re.MULTILINE)
"""The end of the docstring, which doctest takes for part of the last result."""
_PYTHON = {"", "py", "python", "python3"}
_LONGEST = 50_000
_MOST_TESTS = 10
_SECONDS, _MEMORY = 2.0, 256 << 20


def read_signals(prompt: str, text: str, mean_logprob: float | None) -> Signals:
    """Return the signals of an answer; None where they say nothing. Takes seconds at worst."""
    code = python_code(text)
    if code is None:
        return Signals(mean_logprob=mean_logprob)
    good = parses(code)
    return Signals(mean_logprob, good, passes(code, visible_tests(prompt)) if good else None)


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


def visible_tests(prompt: str) -> str:
    """Return the tests that a prompt shows, as a program: its doctests, and its assertions."""
    if len(prompt) > _LONGEST:
        return ""
    tests = []
    try:
        examples = doctest.DocTestParser().get_examples(prompt.expandtabs())
    except ValueError:  # a docstring that doctest cannot read shows no tests
        examples = []
    for example in examples:
        source, want = example.source.strip(), _QUOTES.split(example.want)[0].strip()
        if want and example.exc_msg is None and _is_expression(source):
            tests.append(f"assert repr({source}) == repr({_value(want)})")
    tests += [line for line in _ASSERT.findall(prompt) if parses(line)]
    return "\n".join(tests[:_MOST_TESTS])


def passes(code: str, tests: str) -> bool | None:
    """Return whether code passes tests in the sandbox; None without tests or without a sandbox."""
    if not tests:
        return None
    from weightcut.sandbox import shared

    try:
        result = shared().run_tests(code, tests, timeout=_SECONDS, memory=_MEMORY)
    except WeightcutError as error:
        _say_once(str(error))
        return None
    return result.status == "passed"


@cache
def _say_once(message: str) -> None:
    logs.say("no sandbox: visible tests are not run", level=30, error=message)


def _is_expression(source: str) -> bool:
    try:
        ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _value(want: str) -> str:
    """Return the expected value as source: a literal, or something that looks like its text."""
    try:
        ast.literal_eval(want)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        return f"type('_', (), {{'__repr__': lambda _: {want!r}}})()"
    return want
