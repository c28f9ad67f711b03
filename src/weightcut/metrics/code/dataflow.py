"""Where the values of a program come from: which variable is computed from which others.

The idea is that of CodeBLEU (arXiv:2009.10297, section 3.3): a program is a graph of variables
and the values that flow between them; names do not matter, so variables are numbered in the order
of their appearance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from weightcut.metrics.code.languages import Grammar
from weightcut.metrics.code.tree import Node, Tree

COMES_FROM, COMPUTED_FROM = 0, 1
BUDGET = 2_000_000  # steps after which a text is held to have no flow; about a second
DEEPEST = 120  # visits inside each other, likewise: within the recursion limit of Python

States = dict[str, tuple[int, ...]]
Flows = Sequence[tuple[int, ...]]


# One flow: the place and name of a token, the relation, and the names and places that its value
# comes from. A plain tuple, for there are many of them.
Entry = tuple[int, str, int, tuple[str, ...], tuple[int, ...]]


class Analysis(NamedTuple):
    """What the syntax and dataflow match need of one text."""

    subtrees: Sequence[int]
    flows: Flows


class Undefined(Exception):
    """There is no telling what flows where: too much of it, or a tree that is broken."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text as flows see them: rows of (place, name, variable, identifier).

    place: the number of the token (two tokens of no width in one place share one). name: its text.
    variable: whether it can hold a value, that is, is not a literal token of the grammar.
    """

    rows: list[tuple[int, str, bool, bool]]


def tokens(tree: Tree, names: Sequence[str], grammar: Grammar) -> Tokens:
    """Return the tokens of a tree, given their texts."""
    known = grammar.names
    kinds = [known[kind] for kind in tree.kinds]
    places: Iterable[int] = range(len(names))
    if "" in names:
        spans = list(zip(tree.starts, tree.ends, strict=True))
        last = {span: number for number, span in enumerate(spans)}
        places = [last[span] for span in spans]
    return Tokens(
        [
            (place, name, kind != name, kind == "identifier")
            for place, name, kind in zip(places, names, kinds, strict=True)
        ]
    )


class Budget:
    """Counts steps, so that no text can make the walk last."""

    def __init__(self, steps: int = BUDGET, deepest: int = DEEPEST) -> None:
        self.left = steps
        self.depth = deepest

    def spend(self, steps: int) -> None:
        """Take steps off; raises Undefined when none are left."""
        self.left -= steps
        if self.left < 0:
            raise Undefined

    def down(self) -> None:
        """Go one visit deeper; raises Undefined where that is too deep."""
        if self.depth == 0:
            raise Undefined
        self.depth -= 1

    def up(self) -> None:
        """Come back from a visit."""
        self.depth += 1


def run_of_tokens(
    tokens: Tokens, first: int, last: int, states: States, out: list[Entry], budget: Budget
) -> None:
    """Go through tokens read one after the other: each name comes from where it was set."""
    for place, name, variable, identifier in tokens.rows[first:last]:
        if variable:
            known = states.get(name)
            if known is not None:
                if len(known) > 1:
                    budget.spend(len(known))
                out.append((place, name, COMES_FROM, (name,), known))
            else:
                if identifier:
                    states[name] = (place,)
                out.append((place, name, COMES_FROM, (), ()))


def variables(tokens: Tokens, node: Node) -> list[tuple[int, str]]:
    """Return place and name of the tokens under a node that can hold a value."""
    return [row[:2] for row in tokens.rows[node.first : node.last] if row[2]]


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without repetition, in the order of their first appearance."""
    return tuple(dict.fromkeys(names))


_place = itemgetter(0)
Union = Callable[[Sequence[str]], tuple[str, ...]]


def merge(entries: Iterable[Entry], budget: Budget, union: Union = unique) -> list[Entry]:
    """Join the flows into one token that a loop, read twice, gives twice."""
    merged: dict[tuple[int, str, int], Entry] = {}
    for entry in entries:
        key = entry[:3]
        before = merged.get(key)
        if before is None:
            merged[key] = entry
        elif entry[3] or before[3]:
            names, places = (*before[3], *entry[3]), (*before[4], *entry[4])
            budget.spend(len(names) + len(places))
            merged[key] = (*key, union(names), tuple(dict.fromkeys(places)))
    return sorted(merged.values(), key=_place)


def join(branches: Sequence[States], budget: Budget) -> States:
    """Return what holds after branches of which one was taken."""
    joined = dict(branches[0])
    for states in branches[1:]:
        budget.spend(len(states))
        for name, places in states.items():
            before = joined.setdefault(name, places)
            if before != places:
                budget.spend(len(before) + len(places))
                joined[name] = tuple(sorted({*before, *places}))
    return joined


# What became of a loop's body in a state that it was read in before: state before, after, flows.
Rounds = list[tuple[States, States, list[Entry]]]


def two_rounds(
    body: Callable[[States, list[Entry]], None], states: States, seen: Rounds, budget: Budget
) -> list[Entry]:
    """Read a loop's body twice, since its second round sees what the first one set.

    A round that starts in a state in `seen` is not read again: otherwise n loops inside each other
    would be read 2 to the power of n times.
    """
    entries: list[Entry] = []
    for _ in range(2):
        budget.spend(1 + len(states) * (1 + len(seen)))
        known = next((one for one in seen if one[0] == states), None)
        if known is None:
            before, flows = dict(states), list[Entry]()
            body(states, flows)
            known = (before, dict(states), flows)
            seen.append(known)
        entries += known[2]
        states.clear()
        states.update(known[1])
    budget.spend(len(entries))
    return entries


def normalized(entries: list[Entry], budget: Budget, union: Union = unique) -> Flows:
    """Return the flows' shapes: relation and variables, numbered as they appear in the text.

    Tokens from which nothing comes and that come from nothing are left out.
    """
    entries.sort(key=_place)
    used: set[int] = set()
    for place, _, _, _, sources in entries:
        if sources:
            used.add(place)
            used.update(sources)
    by_place: dict[int, tuple[str, int, tuple[str, ...]]] = {}
    for place, name, relation, names, _ in entries:
        if place in used:
            before = by_place.get(place)
            if before is not None:
                names = (*before[2], *names)
                budget.spend(len(names))
                name, relation, names = before[0], before[1], union(names)
            by_place[place] = (name, relation, names)
    numbers: dict[str, int] = {}
    shapes = []
    for name, relation, names in by_place.values():
        parents = [numbers.setdefault(source, len(numbers)) for source in names]
        shapes.append((relation, numbers.setdefault(name, len(numbers)), *parents))
    return shapes
