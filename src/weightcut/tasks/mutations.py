"""Bugs injected into a Python function: the classical operators of mutation testing.

Each operator looks at the syntax tree and yields edits of the text, so that a mutant differs from
the function in nothing but its bug. The operators are the sufficient ones of Offutt et al. (1996,
doi:10.1145/227607.227610: arithmetic, relational and logical operator replacement, unary operator
insertion) with constant and variable replacement and statement deletion (Jia and Harman 2011,
doi:10.1109/TSE.2010.62), and those kinds of bug of QuixBugs and HumanEvalPack that these lack:
bounds off by one, swapped arguments, missing cases, a related function in place of the right one.

| operator | what it does |
|---|---|
| wrong-comparison | `<` to `<=` or `>`, `==` to `!=`, `in` to `not in`, and back |
| wrong-operator | `+` to `-`, `*` to `+`, `/` to `//`, `%` to `//`, `**` to `*` and so on |
| wrong-connective | `and` to `or` and back |
| missing-negation | `not x` to `x` |
| negated-condition | the condition of an `if` or `while` turned round |
| off-by-one | a bound of `range`, an index or an end of a slice one more or one less |
| wrong-constant | another number nearby, another truth value, an empty text |
| wrong-variable | another variable of the function |
| swapped-arguments | the first two arguments of a call, or the sides of `-`, `/`, `//`, `%` |
| wrong-function | `min` for `max`, `any` for `all`, `lower` for `upper` and so on |
| missing-statement | an assignment or call left out |
| missing-case | an `if` that only returns, raises, continues or breaks, left out |
| missing-return | `return x` to `x` |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

_COMPARISONS: Mapping[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">=")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: (r"not\s+in", ("in",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: (r"is\s+not", ("is",)),
}
_ARITHMETIC: Mapping[type[ast.operator], tuple[str, tuple[str, ...]]] = {
    ast.Add: (r"\+", ("-",)),
    ast.Sub: ("-", ("+",)),
    ast.Mult: (r"\*", ("+",)),
    ast.Div: ("/", ("//", "*")),
    ast.FloorDiv: ("//", ("/", "%")),
    ast.Mod: ("%", ("//",)),
    ast.Pow: (r"\*\*", ("*",)),
    ast.BitAnd: ("&", ("|",)),
    ast.BitOr: (r"\|", ("&",)),
    ast.BitXor: (r"\^", ("|",)),
    ast.LShift: ("<<", (">>",)),
    ast.RShift: (">>", ("<<",)),
}
_PAIRS = (
    ("min", "max"), ("any", "all"), ("upper", "lower"), ("isupper", "islower"),
    ("startswith", "endswith"), ("lstrip", "rstrip"), ("floor", "ceil"), ("append", "extend"),
    ("find", "rfind"), ("sum", "max"), ("sorted", "list"), ("set", "list"), ("keys", "values"),
)  # fmt: skip
_RELATED: Mapping[str, tuple[str, ...]] = {
    name: tuple(b if a == name else a for a, b in _PAIRS if name in (a, b))
    for name in {name for pair in _PAIRS for name in pair}
}
_ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_NOT_COMMUTATIVE = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod)


class Edit(NamedTuple):
    """Bytes from start to end (of the UTF-8 text) become `text`."""

    start: int
    end: int
    text: str


class Function:
    """A function inside a program: its tree, and where its nodes stand in the text."""

    def __init__(self, program: str, name: str) -> None:
        self.source = program.encode()
        self._lines = [0]
        for line in self.source.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        found = [
            node
            for node in ast.parse(program).body
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        self.tree = found[-1]
        body = self.tree.body
        documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
        self.body = body[1:] if documented else body
        self.nodes = [node for statement in self.body for node in ast.walk(statement)]

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the first byte of a node and the one after its last."""
        end_line, end_column = node.end_lineno or 0, node.end_col_offset or 0
        return (
            self._lines[node.lineno - 1] + node.col_offset,
            self._lines[end_line - 1] + end_column,
        )

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return a node as it is written."""
        start, end = self.span(node)
        return self.source[start:end].decode()

    def apply(self, edit: Edit) -> str:
        """Return the program with an edit."""
        return (self.source[: edit.start] + edit.text.encode() + self.source[edit.end :]).decode()

    def replace(self, node: ast.expr | ast.stmt, text: str) -> Edit:
        """Return the edit that puts `text` in place of a node."""
        return Edit(*self.span(node), text)

    def between(self, left: ast.expr, right: ast.expr, pattern: str, text: str) -> Iterator[Edit]:
        """Yield the edit of the operator that stands between two nodes."""
        start, end = self.span(left)[1], self.span(right)[0]
        # Brackets and line ends may stand there too; comments could hold anything.
        gap = self.source[start:end].decode()
        match = re.search(pattern, gap)
        if match and "#" not in gap:
            yield Edit(start + match.start(), start + match.end(), text)


def mutants(program: str, name: str) -> Iterator[tuple[str, int, str]]:
    """Yield operator, number among its edits, and text of every mutant of a function, in order.

    Mutants are programs with another syntax tree than the original; whether they behave otherwise
    is for the tests to say.
    """
    function = Function(program, name)
    original = ast.dump(ast.parse(program))
    for operator, edits in OPERATORS.items():
        for number, edit in enumerate(edits(function)):
            mutant = function.apply(edit)
            try:
                if ast.dump(ast.parse(mutant)) != original:
                    yield operator, number, mutant
            except SyntaxError:
                continue


def mutant(program: str, name: str, operator: str, number: int) -> str:
    """Return one mutant; IndexError where there is no such edit."""
    function = Function(program, name)
    return function.apply(list(OPERATORS[operator](function))[number])


def _wrong_comparison(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, kind, right in zip(sides, node.ops, sides[1:], strict=False):
                pattern, others = _COMPARISONS[type(kind)]
                for other in others:
                    yield from function.between(left, right, pattern, other)


def _wrong_operator(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.BinOp):
            left, right = node.left, node.right
        elif isinstance(node, ast.AugAssign):
            left, right = node.target, node.value
        else:
            continue
        if type(node.op) in _ARITHMETIC:
            pattern, others = _ARITHMETIC[type(node.op)]
            for other in others:
                yield from function.between(left, right, pattern, other)


def _wrong_connective(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from function.between(left, right, rf"\b{old}\b", new)


def _missing_negation(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield function.replace(node, function.text(node.operand))


def _negated_condition(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            yield function.replace(node.test, f"not ({function.text(node.test)})")


def _off_by_one(function: Function) -> Iterator[Edit]:
    bounds: list[ast.expr] = []
    for node in function.nodes:
        if isinstance(node, ast.Call) and _called(node) == "range":
            bounds += node.args[:2]
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            bounds += [end for end in (node.slice.lower, node.slice.upper) if end is not None]
        elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Tuple):
            bounds.append(node.slice)
    for bound in bounds:
        value = _integer(bound)
        if value is not None:
            yield from (function.replace(bound, str(value + step)) for step in (1, -1))
        elif isinstance(bound, ast.Name | ast.Call | ast.BinOp):
            yield from (function.replace(bound, f"{function.text(bound)} {s} 1") for s in "+-")


def _integer(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _integer(node.operand)
        return None if inner is None else -inner
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _wrong_constant(function: Function) -> Iterator[Edit]:
    # The pieces of an f-string are constants without a place of their own.
    pieces = {
        id(part)
        for node in function.nodes
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
    }
    for node in function.nodes:
        if not isinstance(node, ast.Constant) or id(node) in pieces:
            continue
        value = node.value
        if isinstance(value, bool):
            yield function.replace(node, str(not value))
        elif isinstance(value, int):
            others = [value + 1, value - 1] if value > 0 else [1]
            yield from (function.replace(node, str(other)) for other in others)
        elif isinstance(value, float):
            yield function.replace(node, repr(value + 1.0))
        elif isinstance(value, str):
            yield function.replace(node, repr("" if value else " "))


def _wrong_variable(function: Function) -> Iterator[Edit]:
    inner = (arg for node in function.nodes if isinstance(node, ast.arguments) for arg in node.args)
    names = {arg.arg for arg in (*function.tree.args.args, *inner)} | {
        node.id
        for node in function.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for node in function.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            yield from (function.replace(node, other) for other in sorted(names - {node.id}))


def _swapped_arguments(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.Call) and len(node.args) > 1:
            pair = node.args[:2]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, _NOT_COMMUTATIVE):
            pair = [node.left, node.right]
        else:
            continue
        if any(isinstance(one, ast.Starred | ast.BinOp | ast.JoinedStr) for one in pair):
            continue
        (start, first_end), (second, end) = function.span(pair[0]), function.span(pair[1])
        between = function.source[first_end:second].decode()
        text = f"{function.text(pair[1])}{between}{function.text(pair[0])}"
        yield Edit(start, end, text)


def _wrong_function(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if not isinstance(node, ast.Call):
            continue
        for other in _RELATED.get(_called(node), ()):
            end = function.span(node.func)[1]
            yield Edit(end - len(_called(node).encode()), end, other)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _missing_statement(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.Assign | ast.AugAssign) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        ):
            yield _without(function, node)


def _missing_case(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.If) and not node.orelse and isinstance(node.body[-1], _ENDS):
            yield _without(function, node)


def _without(function: Function, node: ast.stmt) -> Edit:
    """Return the edit that leaves a statement out, with its line where it has one to itself."""
    start, end = function.span(node)
    begin = function.source.rfind(b"\n", 0, start) + 1
    stop = function.source.find(b"\n", end)
    stop = len(function.source) if stop < 0 else stop
    lonely = any(
        getattr(parent, field, None) == [node]
        for parent in (function.tree, *function.nodes)
        for field in ("body", "orelse", "finalbody")
    )
    alone = not function.source[begin:start].strip() and not function.source[end:stop].strip()
    # A block cannot be empty, and an `elif` has no line to itself.
    return Edit(start, end, "pass") if lonely or not alone else Edit(begin, stop + 1, "")


def _missing_return(function: Function) -> Iterator[Edit]:
    for node in function.nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            yield function.replace(node, function.text(node.value))


OPERATORS: Mapping[str, Callable[[Function], Iterator[Edit]]] = {
    "wrong-comparison": _wrong_comparison,
    "wrong-operator": _wrong_operator,
    "wrong-connective": _wrong_connective,
    "missing-negation": _missing_negation,
    "negated-condition": _negated_condition,
    "off-by-one": _off_by_one,
    "wrong-constant": _wrong_constant,
    "wrong-variable": _wrong_variable,
    "swapped-arguments": _swapped_arguments,
    "wrong-function": _wrong_function,
    "missing-statement": _missing_statement,
    "missing-case": _missing_case,
    "missing-return": _missing_return,
}
