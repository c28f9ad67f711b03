"""The operators that put bugs into functions."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.tasks.mutations import OPERATORS, mutant, mutants

SOURCE = '''"""Ünïcödé before the function."""


def helper(a):
    return a < 1


def f(items, limit):
    """Return (1 < 2)."""
    total = 0
    if not items:
        return None
    for i in range(1, len(items)):
        if items[i] <= limit and total + 1 > -1:  # a < comment
            total += max(items[i], total - limit)
    items.append(total)
    return total % 7
'''
EXAMPLES = {
    "wrong-comparison": "items[i] < limit",
    "wrong-operator": "total -= max",
    "wrong-connective": "<= limit or total",
    "missing-negation": "if items:",
    "negated-condition": "if not (not items):",
    "off-by-one": "range(1, len(items) - 1)",
    "wrong-constant": "total = 1",
    "wrong-variable": "return limit % 7",
    "swapped-arguments": "range(len(items), 1)",
    "wrong-function": "min(items[i]",
    "missing-statement": "return None\n    for i in range(1, len(items)):\n        if items[i] <= "
    "limit and total + 1 > -1:  # a < comment\n            pass\n",
    "missing-case": "total = 0\n    for i",
    "missing-return": "\n    total % 7\n",
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_does_what_it_says(operator: str) -> None:
    made = [text for name, _, text in mutants(SOURCE, "f") if name == operator]
    assert any(EXAMPLES[operator] in text for text in made)


def test_mutants_parse_differ_and_touch_the_body_alone() -> None:
    original = ast.dump(ast.parse(SOURCE))
    head = SOURCE[: SOURCE.index("    total = 0")]
    found = list(mutants(SOURCE, "f"))
    assert len(found) > 50
    for operator, number, text in found:
        assert text.startswith(head)
        assert ast.dump(ast.parse(text)) != original
        assert mutant(SOURCE, "f", operator, number) == text
    assert found == list(mutants(SOURCE, "f"))


def test_a_statement_that_is_all_of_a_block_becomes_pass() -> None:
    source = "def f(x):\n    for i in x:\n        x.append(i)\n    return x; x.clear()\n"
    made = {text for name, _, text in mutants(source, "f") if name == "missing-statement"}
    assert made == {
        source.replace("x.append(i)", "pass"),
        source.replace("x.clear()", "pass"),
    }


SIGNS = ["+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", "<", "<=", "==", "in", "and"]
EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "0", "1", "-1", "True", "'x'", "2.5", "f'{a}x'"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(SIGNS), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda one: f"(not {one})"),
        st.tuples(inner, inner).map(lambda pair: f"max({pair[0]}, {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"b[{pair[0]}:{pair[1]}]"),
        st.tuples(inner, inner, inner).map(lambda three: "({} if {} else {})".format(*three)),
    ),
    max_leaves=8,
)  # fmt: skip


@given(EXPRESSIONS)
def test_any_function_gives_mutants_that_parse(expression: str) -> None:
    source = f"def f(a, b):\n    ä = {expression}\n    return ä\n"
    for _, _, text in mutants(source, "f"):
        ast.parse(text)
