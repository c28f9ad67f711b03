"""Tests of Python functions taken apart into checks that can pass and fail one by one."""

from __future__ import annotations

import ast
import builtins
import hashlib
from collections.abc import Collection, Sequence

from weightcut.metrics.execution import run_tests
from weightcut.metrics.parses import python_tree
from weightcut.records import ExecutionResult, Record

_MARK = "checks that pass:"
_PASSED = "checks_that_pass"
_LEAST = 1.0  # CPU seconds for a single check of a program that may loop


class Suite(Record):
    """A test as steps in order. checks: the numbers of the steps that check; others prepare."""

    steps: tuple[str, ...]
    checks: tuple[int, ...]

    def test(self, chosen: Collection[int] | None = None) -> str:
        """Return the test with all checks, or with those of the chosen step numbers only."""
        left_out = set() if chosen is None else set(self.checks) - set(chosen)
        return "".join(f"{s}\n" for i, s in enumerate(self.steps) if i not in left_out)

    def joined(self, other: Suite) -> Suite:
        """Return the steps of this suite and then those of the other."""
        moved = tuple(len(self.steps) + number for number in other.checks)
        return Suite(steps=self.steps + other.steps, checks=self.checks + moved)


def read_suite(test: str, entry_point: str) -> Suite:
    """Return the steps of a test; SyntaxError where it is no Python.

    A check is a statement at the top level that asserts (or holds an assertion, as a loop may) or
    calls a function of the test without arguments. The body of a function `check(candidate)` that
    the test calls counts as top level, its parameter as another name for the entry point; messages
    of assertions and assertions of a constant are dropped.
    """
    steps: list[str] = []
    checks: list[int] = []
    tree = python_tree(test)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in _flat(tree, entry_point):
        if isinstance(node, ast.Assert):
            if isinstance(node.test, ast.Constant):
                continue
            node.msg = None
        if _checks(node, own):
            checks.append(len(steps))
        steps.append(ast.unparse(node))
    return Suite(steps=tuple(steps), checks=tuple(checks))


def _flat(tree: ast.Module, entry_point: str) -> list[ast.stmt]:
    judge = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "check"), None
    )
    if judge is None:
        return tree.body
    if judge.args.args:
        renamed = _Renamed(judge.args.args[0].arg, entry_point)
        judge = renamed.visit(judge)
    around = [n for n in tree.body if n is not judge and not _calls(n, {"check"})]
    return [*around, *judge.body]


class _Renamed(ast.NodeTransformer):
    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._new, node.ctx) if node.id == self._old else node


def _calls(node: ast.stmt, names: Collection[str]) -> bool:
    """Return whether a statement is a call of one of these functions and no more."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in names
    )


def _checks(node: ast.stmt, own: Collection[str]) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return _calls(node, own) or any(isinstance(part, ast.Assert) for part in ast.walk(node))


def run_against(program: str, test: str, name: str, timeout: float) -> ExecutionResult:
    """Run a test against a program that defines the function `name`.

    A function named like one of Python's own is handed to the test under that name.
    """
    if hasattr(builtins, name):
        program, test = f"{program}\ncandidate = {name}\n", f"{name} = candidate\n{test}"
    return run_tests(program, test, timeout=timeout)


def passing(program: str, suite: Suite, name: str, timeout: float) -> tuple[int, ...]:
    """Return the checks that a program passes, each for itself.

    For programs of a benchmark, not for answers: the checks report by printing, which an answer
    could forge.
    """
    lines = [f"{_PASSED} = []"]
    for number, step in enumerate(suite.steps):
        if number in suite.checks:
            body = ast.parse(f"{step}\n{_PASSED}.append({number})").body
            caught = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
            lines.append(ast.unparse(ast.Try(body, [caught], [], [])))
        else:
            lines.append(step)
    lines.append(f"print({_MARK!r}, *{_PASSED})")
    result = run_against(program, "\n".join(lines), name, timeout)
    _, marked, numbers = result.output.rpartition(_MARK)
    if result.status == "passed" and marked:
        return tuple(int(number) for number in numbers.split())
    limit = min(timeout, _LEAST)
    return tuple(
        number
        for number in suite.checks
        if run_against(program, suite.test([number]), name, limit).status == "passed"
    )


def split_checks(
    suite: Suite, label: str, seed: int, failing: Sequence[int] = ()
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the visible and the held-out checks: at most three, at most half of them, visible.

    The order is that of SHA-256 over label, check and seed, so that it depends on nothing else.
    failing: checks of which one must be visible. Two checks are the least that can be split.
    """

    def rank(number: int) -> bytes:
        return hashlib.sha256(f"{label}/{number}/{seed}".encode()).digest()

    order = sorted(suite.checks, key=rank)
    shown = [number for number in order if number in failing][:1]
    rest = [number for number in order if number not in shown]
    count = min(3, max(1, len(order) // 2))
    visible = {*shown, *rest[: count - len(shown)]}
    return (
        tuple(sorted(visible)),
        tuple(number for number in suite.checks if number not in visible),
    )
