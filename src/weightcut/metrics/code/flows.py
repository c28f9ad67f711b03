"""Subtrees and flows of values of a text, for CodeBLEU's fixed mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from weightcut.metrics.code.dataflow import (
    COMES_FROM,
    COMPUTED_FROM,
    Analysis,
    Budget,
    Entry,
    Rounds,
    States,
    Tokens,
    Undefined,
    join,
    merge,
    normalized,
    run_of_tokens,
    tokens,
    two_rounds,
    variables,
)
from weightcut.metrics.code.languages import encode, grammar, parse
from weightcut.metrics.code.tree import Node, Reader, read, reader

if TYPE_CHECKING:
    import tree_sitter

_WRAPPER = b"class W {\n", b"\n}"


@dataclass(frozen=True)
class Rules:
    """Which node kinds of a language do what; of each pair of fields the first is the target.

    define: a variable comes from a value. assign: it is computed from one. each: a loop whose
    variable is computed from what it runs over, before its body. update: a variable is computed
    from itself. again: loops, whose second round sees what the first one set.
    """

    define: dict[str, tuple[str, str]]
    assign: dict[str, tuple[str, str]]
    each: dict[str, tuple[str, str]]
    update: tuple[str, ...] = ("update_expression",)
    again: tuple[str, ...] = ("while_statement", "do_statement", "for_statement")
    branch: tuple[str, ...] = ("if_statement",)
    first: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


_SIDES = ("left", "right")
_NAME_VALUE = ("name", "value")
RULES = {
    "python": Rules(
        define={"default_parameter": _NAME_VALUE, "typed_default_parameter": _NAME_VALUE},
        assign={
            "assignment": _SIDES,
            "augmented_assignment": _SIDES,
            "for_in_clause": _SIDES,
            "named_expression": _NAME_VALUE,
        },
        each={"for_statement": _SIDES},
        update=(),
        again=("while_statement",),
        first=("for_in_clause",),
        lists=("pattern_list", "tuple_pattern", "list_pattern", "expression_list", "tuple", "list"),
    ),
    "java": Rules(
        define={"variable_declarator": _NAME_VALUE},
        assign={"assignment_expression": _SIDES},
        each={"enhanced_for_statement": _NAME_VALUE},
    ),
    "c_sharp": Rules(
        define={"variable_declarator": ("name", "")},
        assign={"assignment_expression": _SIDES},
        each={"foreach_statement": _SIDES},
        update=("postfix_unary_expression", "prefix_unary_expression"),
    ),
    "javascript": Rules(
        define={"variable_declarator": _NAME_VALUE},
        assign={
            "assignment_expression": _SIDES,
            "augmented_assignment_expression": _SIDES,
            "assignment_pattern": _SIDES,
        },
        each={"for_in_statement": _SIDES},
    ),
    "cpp": Rules(
        define={"init_declarator": ("declarator", "value")},
        assign={"assignment_expression": _SIDES},
        each={"for_range_loop": ("declarator", "right")},
    ),
    "go": Rules(
        define={"var_spec": _NAME_VALUE, "const_spec": _NAME_VALUE},
        assign={
            "assignment_statement": _SIDES,
            "short_var_declaration": _SIDES,
            "range_clause": _SIDES,
        },
        each={},
        update=("inc_statement", "dec_statement"),
        again=("for_statement",),
        lists=("expression_list",),
    ),
}


@cache
def _special(lang: str) -> frozenset[int]:
    rules = RULES[lang]
    kinds = (*rules.define, *rules.assign, *rules.each, *rules.update, *rules.again)
    return grammar(lang).kinds(*kinds, *rules.branch)


@cache
def _first(lang: str) -> frozenset[int]:
    return grammar(lang).kinds(*RULES[lang].first)


@cache
def reader_of(lang: str) -> Reader:
    """Return how trees of the language are read."""
    return reader(grammar(lang), _special(lang), whole=True)


def best_parse(data: bytes, lang: str) -> tuple[tree_sitter.Node, bytes, bool]:
    """Parse a program or fragment; return the root, the text it is of, and whether it was wrapped.

    A method of Java or C# on its own is a program to neither, so the text is first read as the
    body of a class; where that has errors and the bare text has fewer, as it is.
    """
    if lang not in ("java", "c_sharp"):
        return parse(data, lang), data, False
    wrapped = data.join(_WRAPPER)
    root = parse(wrapped, lang)
    body = _class_body(root)
    if body is not None and not root.has_error:
        return body, wrapped, True
    bare = parse(data, lang)
    if body is None or not bare.has_error or _errors(bare) < _errors(root):
        return bare, data, False
    return body, wrapped, True


def _class_body(root: tree_sitter.Node) -> tree_sitter.Node | None:
    """Return the body of the wrapping class, if it is all there is."""
    if root.child_count != 1 or not (declaration := root.children[0]).type.startswith("class"):
        return None
    body = declaration.child_by_field_name("body")
    return body if body is not None and body.end_byte == root.end_byte else None


def _errors(root: tree_sitter.Node) -> int:
    """Count the nodes that stand for an error, going only where there are any."""
    cursor: Any = root.walk()
    found: int = 0
    while True:
        node = cursor.node
        found += int(node.is_error or node.is_missing)
        if node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return found


def analyse(text: str, lang: str) -> Analysis:
    """Parse the text, and find subtrees and flows; comments are no part of either."""
    if not text.strip():
        return Analysis((), ())
    root, data, wrapped = best_parse(encode(text), lang)
    tree = read(root, reader_of(lang), fragment=wrapped)
    names = [
        data[a:b].decode("utf-8", "replace") for a, b in zip(tree.starts, tree.ends, strict=True)
    ]
    entries: list[Entry] = []
    try:
        run = _Run(tokens(tree, names, grammar(lang)), lang)
        run.visit(tree.root, {}, entries)
        return Analysis(tree.subtrees, normalized(entries, run.budget))
    except (Undefined, RecursionError):
        return Analysis(tree.subtrees, ())


class _Run:
    """One walk through a skeleton; a state says where each name was set last."""

    def __init__(self, known: Tokens, lang: str) -> None:
        grammar_, self.rules, self.special = grammar(lang), RULES[lang], _special(lang)
        self.tokens = known
        self.first = _first(lang)
        self.budget = Budget()
        self.names = grammar_.names
        self.fields = grammar_.fields
        self.alternative = grammar_.fields.get("alternative", -1)
        self.seen: dict[int, Rounds] = {}

    def visit(self, node: Node, states: States, out: list[Entry]) -> None:
        """Add the flows under a node to `out` and bring `states` up to date."""
        if node.first == node.last:
            return
        self.budget.down()
        if node.special and node.children and node.kind in self.special:
            self.role(node, self.names[node.kind], states, out)
        else:
            self.walk(node, states, out)
        self.budget.up()

    def role(self, node: Node, kind: str, states: States, out: list[Entry]) -> None:
        """Read a node of a kind that the rules know."""
        rules = self.rules
        if kind in rules.define or kind in rules.assign:
            self.assign(node, kind, states, out)
        elif kind in rules.branch:
            self.branch(node, states, out)
        elif kind in rules.each:
            self.loop(node, lambda states, out: self.each(node, kind, states, out), states, out)
        elif kind in rules.again:
            self.loop(node, lambda states, out: self.walk(node, states, out), states, out)
        else:
            self.walk(node, states, out)
            if self.updates(node):
                self.link(node, node, COMPUTED_FROM, states, out)

    def walk(self, node: Node, states: States, out: list[Entry]) -> None:
        """Go through what is under a node from left to right, comprehensions' clauses first."""
        self.budget.spend(1 + node.last - node.first)
        if not node.special:
            run_of_tokens(self.tokens, node.first, node.last, states, out, self.budget)
            return
        early: list[Node] = []
        if self.first:
            early = [child for child in node.children if child.kind in self.first]
            for child in early:
                self.visit(child, states, out)
        position = node.first
        for child in node.children:
            if child.special:
                if position < child.first:
                    run_of_tokens(self.tokens, position, child.first, states, out, self.budget)
                if child not in early:
                    self.visit(child, states, out)
                position = child.last
        if position < node.last:
            run_of_tokens(self.tokens, position, node.last, states, out, self.budget)

    def field(self, node: Node, name: str) -> Node | None:
        """Return the child of that field; without a name, the value that stands after '='."""
        if name:
            return node.by_field(self.fields[name])
        signs = [self.names[child.kind] for child in node.children]
        return node.children[-1] if "=" in signs[:-1] else None

    def link(
        self, left: Node, right: Node, relation: int, states: States, out: list[Entry]
    ) -> None:
        """Let every variable on the left come from all those on the right."""
        targets, sources = variables(self.tokens, left), variables(self.tokens, right)
        self.budget.spend(len(targets) * (1 + len(sources)))
        names = tuple([name for _, name in sources])
        places = tuple([place for place, _ in sources])
        for at, name in targets:
            out.append((at, name, relation, names, places))
            states[name] = (at,)

    def assign(self, node: Node, kind: str, states: States, out: list[Entry]) -> None:
        """Read the value first; `a, b = b, a` is two assignments."""
        relation = COMES_FROM if kind in self.rules.define else COMPUTED_FROM
        sides = self.rules.define.get(kind) or self.rules.assign[kind]
        left, right = self.field(node, sides[0]), self.field(node, sides[1])
        if left is None:
            self.walk(node, states, out)
            return
        if right is None:
            for at, target in variables(self.tokens, left):
                states[target] = (at,)
            return
        self.visit(right, states, out)
        for target_node, source in self.pairs(left, right):
            self.link(target_node, source, relation, states, out)

    def pairs(self, left: Node, right: Node) -> list[tuple[Node, Node]]:
        lists = self.rules.lists
        if self.names[left.kind] in lists and self.names[right.kind] in lists:
            signs = (",", "(", ")", "[", "]")
            targets = [child for child in left.children if self.names[child.kind] not in signs]
            sources = [child for child in right.children if self.names[child.kind] not in signs]
            if len(targets) == len(sources):
                return list(zip(targets, sources, strict=True))
        return [(left, right)]

    def updates(self, node: Node) -> bool:
        """Return whether a unary operator changes its operand: `++x` does, `-x` does not."""
        if not self.names[node.kind].endswith("unary_expression"):
            return True
        return any(self.names[child.kind] in ("++", "--") for child in node.children)

    def branch(self, node: Node, states: States, out: list[Entry]) -> None:
        """Read each alternative from the state before; what any of them set may hold after."""
        self.budget.spend(len(states) * len(node.children))
        current, ends = dict(states), []
        for child in node.children:
            if child.field == self.alternative:
                other = dict(states)
                self.visit(child, other, out)
                ends.append(other)
            else:
                self.visit(child, current, out)
        if not ends or self.names[node.children[-1].kind] == "elif_clause":
            ends.append(dict(states))
        joined = join([current, *ends], self.budget)
        states.clear()
        states.update(joined)

    def each(self, node: Node, kind: str, states: States, out: list[Entry]) -> None:
        target, value = (self.field(node, name) for name in self.rules.each[kind])
        if target is None or value is None:
            self.walk(node, states, out)
            return
        self.visit(value, states, out)
        self.link(target, value, COMPUTED_FROM, states, out)
        for child in node.children:
            if child is not target and child is not value:
                self.visit(child, states, out)

    def loop(
        self,
        node: Node,
        body: Callable[[States, list[Entry]], None],
        states: States,
        out: list[Entry],
    ) -> None:
        seen = self.seen.setdefault(id(node), [])
        out += merge(two_rounds(body, states, seen, self.budget), self.budget)
