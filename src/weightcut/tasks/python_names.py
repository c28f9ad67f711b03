"""Names in Python code: which it lacks, which imports bring them, which lines only use them."""

from __future__ import annotations

import ast
import builtins
import collections
import typing
from collections.abc import Iterable

_MODULES = frozenset(
    """
    bisect cmath collections copy datetime decimal fractions functools hashlib heapq itertools json
    math operator random re statistics string sys time typing
    """.split()  # noqa: SIM905
)
_ALWAYS_THERE = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def lacking(tree: ast.AST) -> set[str]:
    """Return the names that code reads and neither binds anywhere nor has from Python itself."""
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        else:
            bound.update(_binds(node))
    return read - bound - _ALWAYS_THERE


def _binds(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.arg):
        return (node.arg,)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return (node.name,) if node.name else ()
    if isinstance(node, ast.MatchMapping):
        return (node.rest,) if node.rest else ()
    return ()


def top_level_names(tree: ast.Module) -> set[str]:
    """Return the names that the statements of a module bind, not those inside its functions."""
    bound: set[str] = set()
    for node in tree.body:
        bound.update(_binds(node))
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
            bound.update(n.id for n in stored if isinstance(n.ctx, ast.Store))
    return bound


def imports_for(names: Iterable[str]) -> str:
    """Return import lines for those of the names that the standard library is known for.

    Modules by name, and what `collections` and `typing` export: what the published harness of
    HumanEvalPack (bigcode-evaluation-harness) puts before every answer, but only where it lacks.
    """
    lines = []
    for name in sorted(names):
        if name in _MODULES:
            lines.append(f"import {name}\n")
        elif name in collections.__all__:
            lines.append(f"from collections import {name}\n")
        elif name in typing.__all__:
            lines.append(f"from typing import {name}\n")
    return "".join(lines)


def helpers(before: str, test: str) -> str:
    """Return the functions, and imports, of a prompt of which a test names a function.

    Put before the test they stand for those of the answer, which could make a test agree with
    whatever it does by writing the helper anew.
    """
    try:
        body = ast.parse(before).body
    except (SyntaxError, ValueError):
        return ""
    named = {n.id for n in ast.walk(ast.parse(test)) if isinstance(n, ast.Name)}
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    if named.isdisjoint(node.name for node in functions):
        return ""
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "".join(f"{ast.unparse(node)}\n" for node in [*imports, *functions])


def without_usage(code: str, tree: ast.Module, name: str) -> str:
    """Return code without the statements after the last definition of `name` that only use it.

    Calls, prints and assertions that a model shows as examples are no part of the function asked
    for. Definitions, imports, values that definitions read, and what fills these, stay. The lines
    keep their numbers.
    """
    last = max((i for i, node in enumerate(tree.body) if _defines(node, name)), default=None)
    if last is None:
        return code
    read: set[str] = set()
    for node in tree.body:
        if isinstance(node, _DEFINITIONS):
            read.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
    filled = read & {n for node in tree.body if not isinstance(node, _DEFINITIONS)
                     for n in top_level_names(ast.Module([node], []))}  # fmt: skip
    kept, dropped = set[int](), set[int]()
    for i, node in enumerate(tree.body):
        needed = (
            i <= last
            or isinstance(node, _DEFINITIONS)
            or not read.isdisjoint(top_level_names(ast.Module([node], [])))
            or _fills(node, filled, name)
        )
        (kept if needed else dropped).update(range(_first_line(node), (node.end_lineno or 0) + 1))
    lines = code.split("\n")
    for number in dropped - kept:
        lines[number - 1] = ""
    return "\n".join(lines)


def _fills(node: ast.stmt, values: set[str], name: str) -> bool:
    """Return whether a statement changes one of these values, and shows or uses nothing."""
    inside = list(ast.walk(node))
    named = {n.id for n in inside if isinstance(n, ast.Name)}
    if values.isdisjoint(named) or named & {name, "print", "__name__"}:
        return False
    if any(isinstance(n, ast.Assert) for n in inside):
        return False
    return not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return name in top_level_names(ast.Module([node], []))
    return False
