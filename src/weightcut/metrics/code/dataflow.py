"""Where the values of a program come from: which variable is computed from which others.

The idea is that of CodeBLEU (arXiv:2009.10297, section 3.3): a program is a graph of variables
and the values that flow between them; names do not matter, so variables are numbered in the order
of their appearance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from weightcut.metrics.code.languages import Grammar
from weightcut.metrics.code.tree import Node, Tree

COMES_FROM, COMPUTED_FROM = 0, 1
BUDGET = 2_000_000  # steps after which a text is held to have no flow; about a second

States = dict[str, tuple[int, ...]]
Flows = Mapping[tuple[int, ...], int]


class Entry(NamedTuple):
    """One flow: the token at `place` gets its value from the tokens `names` at `sources`."""

    place: int
    name: str
    relation: int
    names: tuple[str, ...]
    sources: tuple[int, ...]


class Undefined(Exception):
    """There is no telling what flows where: too much of it, or a tree that is broken."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text as flows see them.

    names: their texts. place: the number of each (two tokens of no width in one place share one).
    variable: whether a token can hold a value, that is, is not a literal token of the grammar.
    identifier: whether it is an identifier.
    """

    names: Sequence[str]
    place: Sequence[int]
    variable: Sequence[bool]
    identifier: Sequence[bool]


def tokens(tree: Tree, names: Sequence[str], grammar: Grammar) -> Tokens:
    """Return the tokens of a tree, given their texts."""
    known = grammar.names
    kinds = [known[kind] for kind in tree.kinds]
    place: Sequence[int] = range(len(names))
    if any(start == end for start, end in zip(tree.starts, tree.ends, strict=True)):
        spans = list(zip(tree.starts, tree.ends, strict=True))
        last = {span: number for number, span in enumerate(spans)}
        place = [last[span] for span in spans]
    variable = [kind != name for kind, name in zip(kinds, names, strict=True)]
    return Tokens(names, place, variable, [kind == "identifier" for kind in kinds])


class Budget:
    """Counts steps, so that no text can make the walk last."""

    def __init__(self, steps: int = BUDGET) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps off; raises Undefined when none are left."""
        self.left -= steps
        if self.left < 0:
            raise Undefined


def run_of_tokens(
    tokens: Tokens, first: int, last: int, states: States, out: list[Entry]
) -> None:
    """Go through tokens that are read one after the other: each name comes from where it was set."""
    names, variable, place = tokens.names, tokens.variable, tokens.place
    for number in range(first, last):
        if variable[number]:
            name = names[number]
            known = states.get(name)
            if known is not None:
                out.append(Entry(place[number], name, COMES_FROM, (name,), known))
            else:
                if tokens.identifier[number]:
                    states[name] = (place[number],)
                out.append(Entry(place[number], name, COMES_FROM, (), ()))


def variables(tokens: Tokens, node: Node) -> list[int]:
    """Return the numbers of the tokens under a node that can hold a value."""
    return [number for number in range(node.first, node.last) if tokens.variable[number]]


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without repetition, in the order of their first appearance."""
    return tuple(dict.fromkeys(names))


Union = Callable[[Sequence[str]], tuple[str, ...]]


def merge(entries: Iterable[Entry], union: Union = unique) -> list[Entry]:
    """Join the flows into one token that a loop, read twice, gives twice."""
    merged: dict[tuple[str, int, int], Entry] = {}
    for entry in entries:
        key = (entry.name, entry.place, entry.relation)
        before = merged.get(key)
        if before is None:
            merged[key] = entry
        elif entry.names or before.names:
            merged[key] = Entry(
                entry.place,
                entry.name,
                entry.relation,
                union((*before.names, *entry.names)),
                tuple(dict.fromkeys((*before.sources, *entry.sources))),
            )
    return sorted(merged.values(), key=lambda entry: entry.place)


def join(branches: Sequence[States], budget: Budget) -> States:
    """Return what holds after branches of which one was taken."""
    joined: dict[str, set[int]] = {}
    for states in branches:
        budget.spend(len(states))
        for name, places in states.items():
            joined.setdefault(name, set()).update(places)
    return {name: tuple(sorted(places)) for name, places in joined.items()}


def normalized(entries: list[Entry], union: Union = unique) -> Flows:
    """Count the flows by shape: relation and variables, numbered as they appear in the text.

    Tokens from which nothing comes and that come from nothing are left out.
    """
    entries.sort(key=lambda entry: entry.place)
    used: set[int] = set()
    for place, _, _, _, sources in entries:
        if sources:
            used.add(place)
            used.update(sources)
    by_place: dict[int, tuple[str, int, tuple[str, ...]]] = {}
    for place, name, relation, names, _ in entries:
        if place in used:
            before = by_place.get(place)
            by_place[place] = (
                (name, relation, names)
                if before is None
                else (before[0], before[1], union((*before[2], *names)))
            )
    numbers: dict[str, int] = {}
    shapes = []
    for name, relation, names in by_place.values():
        sources = [numbers.setdefault(source, len(numbers)) for source in names]
        shapes.append((relation, numbers.setdefault(name, len(numbers)), *sources))
    return Counter(shapes)
