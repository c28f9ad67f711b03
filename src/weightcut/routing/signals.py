"""What an answer says about itself: how sure, does its code parse, does it pass visible tests."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from functools import cache

from weightcut.errors import WeightcutError
from weightcut.routing.router import Signals
from weightcut.routing.server import logs

_FENCE = re.compile(r"```([\w+#-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ASSERT = re.compile(r"^\s*(assert .+)$", re.MULTILINE)
_EXAMPLE = re.compile(
    r"^(?P<indent> *)>>> (?P<source>.*(?:\n(?P=indent)\.\.\. .*)*)"
    r"(?P<want>(?:\n(?P=indent)(?! *(?:>>>|\"\"\"|'''|```|$)).+)*)",
    re.MULTILINE,
)
"""A doctest. `doctest.DocTestParser` refuses a whole prompt where less indented text follows one,
as in a function between fences."""
_ARROW = re.compile(
    r"^ *(?P<source>[A-Za-z_]\w*\([^\n]*?\)) *(?:==?>|->|==|\u279e|\u2192) *(?P<want>[^\n]+)$",
    re.MULTILINE,
)
_BUILTINS = frozenset(dir(builtins))
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
    """Return the tests that a prompt shows, as a program.

    Its doctests, its assertions, and lines such as `add(1, 2) => 3`.
    """
    if len(prompt) > _LONGEST:
        return ""
    text = prompt.expandtabs()
    shown = [(_source(one), one["want"]) for one in _EXAMPLE.finditer(text)]
    shown += [
        (one["source"], one["want"]) for one in _ARROW.finditer(text) if _is_value(one["want"])
    ]
    tests = []
    for source, want in shown:
        want = textwrap.dedent(want.strip("\n")).strip()
        called = _expression(source)
        if called and want and not want.startswith("Traceback ("):
            test = f"{called} == {want}" if _is_value(want) else f"repr({called}) == {want!r}"
            tests.append(f"assert {test}")
    tests += [line for line in _ASSERT.findall(prompt) if parses(line)]
    return "\n".join(list(dict.fromkeys(tests))[:_MOST_TESTS])


def _source(example: re.Match[str]) -> str:
    lines = example["source"].split("\n")
    return "\n".join([lines[0], *(line.strip()[4:] for line in lines[1:])]).strip()


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


def _expression(source: str) -> str | None:
    """Return an expression without its comments; None for what is none, or uses unknown names."""
    try:
        tree = ast.parse(source, mode="eval")
        nodes = list(ast.walk(tree))
        called = {
            n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        own = {node.arg for node in nodes if isinstance(node, ast.arg)}
        own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        known = names <= called | own | _BUILTINS
        return ast.unparse(tree) if known else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_value(want: str) -> bool:
    try:
        ast.literal_eval(want)
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        return False
    return True
