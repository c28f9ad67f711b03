"""The flows of values as `codebleu` 0.7.0 sees them, defects included.

The rules of that package name node kinds of older grammars, so some of them never apply; they are
kept as they are, for its figures depend on them. Where it joins sets in an order that depends on
PYTHONHASHSEED, the order here is that of PYTHONHASHSEED=0. docs/codebleu.md tells the differences
to `weightcut.metrics.code.flows`, which is meant for use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from weightcut.metrics.code.dataflow import (
    COMES_FROM,
    COMPUTED_FROM,
    Analysis,
    Budget,
    Entry,
    Flows,
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
from weightcut.metrics.code.set_order import in_set_order
from weightcut.metrics.code.stripping import strip_comments
from weightcut.metrics.code.tree import Node, Reader, read, reader


@dataclass(frozen=True)
class Rules:
    """Which node kinds of a language do what; a loop over items names its three fields."""

    define: tuple[str, ...]
    assign: tuple[str, ...]
    update: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    again_after: str = ""
    each: tuple[str, ...] = ()
    each_fields: tuple[str, str, str] = ("name", "value", "body")
    repeat: tuple[str, ...] = ("while_statement",)
    first: tuple[str, ...] = ()
    bare_else: bool = True
    defines_by_position: bool = False


_C_SHARP = Rules(
    define=("variable_declarator",),
    assign=("assignment_expression",),
    update=("postfix_unary_expression",),
    counted=("for_statement",),
    again_after="local_variable_declaration",
    each=("for_each_statement",),
    each_fields=("left", "right", "body"),
    defines_by_position=True,
)
RULES = {
    "python": Rules(
        define=("default_parameter",),
        assign=("assignment", "augmented_assignment", "for_in_clause"),
        each=("for_statement",),
        each_fields=("left", "right", "body"),
        first=("for_in_clause",),
        bare_else=False,
    ),
    "java": Rules(
        define=("variable_declarator",),
        assign=("assignment_expression",),
        update=("update_expression",),
        counted=("for_statement",),
        again_after="local_variable_declaration",
        each=("enhanced_for_statement",),
    ),
    "c_sharp": _C_SHARP,
    "cpp": _C_SHARP,
    "javascript": Rules(
        define=("variable_declarator",),
        assign=("assignment_pattern", "augmented_assignment_expression"),
        update=("update_expression",),
        counted=("for_statement",),
        again_after="variable_declaration",
    ),
    "go": Rules(
        define=("var_spec",),
        assign=("assignment_statement",),
        update=("inc_statement",),
        counted=("for_statement",),
        again_after="for_clause",
        repeat=(),
    ),
}


@cache
def roles(lang: str) -> dict[int, str]:
    """Return, for each kind of node that is more than its tokens, the method that reads it."""
    rules = RULES[lang]
    methods = {
        "update": rules.update,
        "repeat": rules.repeat,
        "counted": rules.counted,
        "each": rules.each,
        "branch": ("if_statement",),
        "assign" if rules.bare_else else "assign_each": rules.assign,
        "define": rules.define,
    }
    known = grammar(lang)
    return {kind: name for name, kinds in methods.items() for kind in known.kinds(*kinds)}


@cache
def _first(lang: str) -> frozenset[int]:
    return grammar(lang).kinds(*RULES[lang].first)


@cache
def reader_of(lang: str) -> Reader:
    """Return how trees of the language are read."""
    return reader(grammar(lang), frozenset(roles(lang)), whole=False)


def analyse(text: str, lang: str) -> Analysis:
    """Parse the text without its comments, and find subtrees and flows."""
    stripped = strip_comments(text, lang)
    # In a text with wide characters that package cuts its tokens in the wrong places, so that even
    # literal tokens come out as names.
    tree = read(parse(encode(stripped), lang), reader_of(lang), literals=not stripped.isascii())
    entries: list[Entry] = []
    flows: Flows = ()
    try:
        run = _Run(tokens(tree, names(stripped, tree.starts, tree.ends), grammar(lang)), lang)
        run.visit(tree.root, {}, entries)
        flows = normalized(entries, run.budget, in_set_order)
    except (Undefined, RecursionError):
        pass
    return Analysis(tree.subtrees, flows)


def names(text: str, token_starts: list[int], token_ends: list[int]) -> list[str]:
    """Return the tokens' texts; that package takes bytes for characters, and joins lines."""
    if text.isascii():
        spans = zip(token_starts, token_ends, strict=True)
        return [text[a:b].replace("\n", "") for a, b in spans]
    data = encode(text)
    lines = text.split("\n")
    starts = [0]
    for line in data.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []
    row = 0
    for start, end in zip(token_starts, token_ends, strict=True):
        while starts[row + 1] <= start:
            row += 1
        last = row
        while starts[last + 1] <= end:
            last += 1
        if row == last:
            found.append(lines[row][start - starts[row] : end - starts[row]])
        else:
            tail = lines[last][: end - starts[last]]
            found.append("".join([lines[row][start - starts[row] :], *lines[row + 1 : last], tail]))
    return found


class _Run:
    """One walk through a skeleton; a state says where each name was set last."""

    def __init__(self, known: Tokens, lang: str) -> None:
        grammar_, self.rules, self.special = grammar(lang), RULES[lang], roles(lang)
        self.tokens = known
        self.first = _first(lang)
        self.budget = Budget()
        self.names = grammar_.names
        self.field = grammar_.fields.get
        self.seen: dict[int, Rounds] = {}

    def visit(self, node: Node | None, states: States, out: list[Entry]) -> None:
        """Add the flows under a node to `out` and bring `states` up to date."""
        if node is None:
            raise Undefined
        if node.first == node.last and not node.special:
            return
        self.budget.spend(1 + node.last - node.first)
        if not node.special:
            run_of_tokens(self.tokens, node.first, node.last, states, out, self.budget)
            return
        self.budget.down()
        if node.children and node.kind in self.special:
            getattr(self, self.special[node.kind])(node, states, out)
        else:
            self.walk(node, states, out)
        self.budget.up()

    def walk(self, node: Node, states: States, out: list[Entry]) -> None:
        """Go through what is under a node from left to right, comprehensions' clauses first."""
        early = [child for child in node.children if child.kind in self.first]
        for child in early:
            self.visit(child, states, out)
        position = node.first
        for child in node.children:
            if child.special:
                run_of_tokens(self.tokens, position, child.first, states, out, self.budget)
                if child not in early:
                    self.visit(child, states, out)
                position = child.last
        run_of_tokens(self.tokens, position, node.last, states, out, self.budget)

    def link(
        self,
        left: Node | None,
        right: Node | None,
        relation: int,
        states: States,
        out: list[Entry],
    ) -> None:
        """Let every variable on the left come from every one on the right, pair by pair."""
        if left is None or right is None:
            raise Undefined
        targets, sources = variables(self.tokens, left), variables(self.tokens, right)
        self.budget.spend(len(targets) * (1 + len(sources)))
        for at, name in targets:
            for place, source in sources:
                out.append((at, name, relation, (source,), (place,)))
            states[name] = (at,)

    def gather(self, left: Node, right: Node, states: States, out: list[Entry]) -> None:
        """Let every variable on the left come from all on the right together (Python)."""
        targets, sources = variables(self.tokens, left), variables(self.tokens, right)
        self.budget.spend(len(targets) * (1 + len(sources)))
        names = tuple([name for _, name in sources])
        places = tuple([place for place, _ in sources])
        for at, name in targets:
            out.append((at, name, COMPUTED_FROM, names, places))
            states[name] = (at,)

    def define(self, node: Node, states: States, out: list[Entry]) -> None:
        name, value = node.by_field(self.field("name", -1)), node.by_field(self.field("value", -1))
        if self.rules.defines_by_position:
            name = node.children[0]
            value = node.children[1] if len(node.children) == 2 else None
        if name is None:
            raise Undefined
        if value is None:
            for at, target in variables(self.tokens, name):
                out.append((at, target, COMES_FROM, (), ()))
                states[target] = (at,)
            return
        self.visit(value, states, out)
        self.link(name, value, COMES_FROM, states, out)

    def assign(self, node: Node, states: States, out: list[Entry]) -> None:
        left, right = node.by_field(self.field("left", -1)), node.by_field(self.field("right", -1))
        self.visit(right, states, out)
        self.link(left, right, COMPUTED_FROM, states, out)

    def assign_each(self, node: Node, states: States, out: list[Entry]) -> None:
        if self.names[node.kind] == "for_in_clause":
            left, right = node.by_field(self.field("left", -1)), node.children[-1]
            self.pairs([left], [right], states, out)
            return
        found = node.by_field(self.field("right", -1))
        if found is not None:
            self.unpack(node.by_field(self.field("left", -1)), found, states, out)

    def unpack(
        self, left: Node | None, right: Node | None, states: States, out: list[Entry]
    ) -> None:
        """Pair the items of both sides where they are as many, else the sides as they are."""
        if left is None or right is None:
            raise Undefined
        targets = [child for child in left.children if self.names[child.kind] != ","]
        sources = [child for child in right.children if self.names[child.kind] != ","]
        if len(targets) != len(sources) or not targets:
            targets, sources = [left], [right]
        self.pairs(targets, sources, states, out)

    def pairs(
        self,
        targets: Sequence[Node | None],
        sources: Sequence[Node],
        states: States,
        out: list[Entry],
    ) -> None:
        for source in sources:
            self.visit(source, states, out)
        for target, source in zip(targets, sources, strict=True):
            if target is None:
                raise Undefined
            self.gather(target, source, states, out)

    def update(self, node: Node, states: States, out: list[Entry]) -> None:
        self.link(node, node, COMPUTED_FROM, states, out)

    def branch(self, node: Node, states: States, out: list[Entry]) -> None:
        self.budget.spend(len(states) * len(node.children))
        current = dict(states)
        ends: list[States] = []
        has_else = past_else = False
        for child in node.children:
            kind = self.names[child.kind]
            has_else = has_else or "else" in kind
            if self.rules.bare_else:
                past_else = past_else or kind in ("if_statement", "else")
                apart = past_else
            else:
                apart = kind in ("elif_clause", "else_clause")
            if apart:
                other = dict(states)
                self.visit(child, other, out)
                ends.append(other)
            else:
                self.visit(child, current, out)
        ends.append(current)
        if not has_else:
            ends.append(dict(states))
        joined = join(ends, self.budget)
        states.clear()
        states.update(joined)

    def twice(
        self, node: Node, body: Callable[[States, list[Entry]], None], states: States
    ) -> list[Entry]:
        seen = self.seen.setdefault(id(node), [])
        return merge(two_rounds(body, states, seen, self.budget), self.budget, in_set_order)

    def each(self, node: Node, states: States, out: list[Entry]) -> None:
        target, value, block = (
            node.by_field(self.field(name, -1)) for name in self.rules.each_fields
        )

        def body(states: States, out: list[Entry]) -> None:
            if self.rules.bare_else:
                self.visit(value, states, out)
                self.link(target, value, COMPUTED_FROM, states, out)
                self.visit(block, states, out)
                return
            self.unpack(target, value, states, out)
            if self.names[node.children[-1].kind] == "block":
                self.visit(node.children[-1], states, out)

        out += self.twice(node, body, states)

    def repeat(self, node: Node, states: States, out: list[Entry]) -> None:
        def body(states: States, out: list[Entry]) -> None:
            for child in node.children:
                self.visit(child, states, out)

        out += self.twice(node, body, states)

    def counted(self, node: Node, states: States, out: list[Entry]) -> None:
        """Read a for loop with a counter once, and then once more what follows the counter."""
        entries: list[Entry] = []
        for child in node.children:
            self.visit(child, states, entries)
        again = False
        for child in node.children:
            if again:
                self.visit(child, states, entries)
            elif self.names[child.kind] == self.rules.again_after:
                again = True
                step = child.by_field(self.field("update", -1))
                if step is not None and self.rules.again_after == "for_clause":
                    self.visit(step, states, entries)
        out += merge(entries, self.budget, in_set_order)
