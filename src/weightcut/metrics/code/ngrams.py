"""N-gram counts of token sequences, and the BLEU formula over them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any, NamedTuple

EPSILON = 0.1  # Chen & Cherry (2014), method 1: what no match at all counts at an order

# An operator is one token however it is spaced; the longest that fits.
_SIGNS = """
    >>>= **= //= <<= >>= >>> === !== ... <=> &&= ||= ??= &^= -> => := :: ** // << >> <= >= == !=
    && || ?? ?. ++ -- <- &^ -= += *= /= %= @= &= |= ^="""
OPERATORS = tuple(_SIGNS.split())
_LEXEME = re.compile("|".join([r"\w+", *map(re.escape, OPERATORS), r"\S"]))


def lexemes(text: str) -> list[str]:
    """Split code into words, numbers, operators and signs, whatever the white space between.

    Comments and string literals are split in the same way, so that both count as their words do.

    >>> lexemes("if x<=1:  # so")
    ['if', 'x', '<=', '1', ':', '#', 'so']
    """
    return _LEXEME.findall(text)


class Bag(NamedTuple):
    """Things counted: how often each occurs, those that occur more than once, and all together."""

    counts: Mapping[Any, int]
    repeated: Set[Any]
    total: int

    def shared(self, other: Bag) -> int:
        """Return how many things two bags have in common, each as often as in both."""
        ours, theirs = self.counts, other.counts
        common = len(ours.keys() & theirs.keys())
        return common + sum([min(ours[x], theirs[x]) - 1 for x in self.repeated & other.repeated])


def bag(things: Collection[Any]) -> Bag:
    """Count things."""
    counts = Counter(things)
    total = len(things)
    some = len(counts) < total
    return Bag(counts, {x for x, n in counts.items() if n > 1} if some else frozenset(), total)


def grams(tokens: Sequence[str]) -> tuple[Bag, ...]:
    """Count the n-grams of orders 1 to 4; single tokens are keyed by themselves."""
    return (
        bag(tokens),
        bag(list(pairwise(tokens))),
        bag(list(zip(tokens, tokens[1:], tokens[2:], strict=False))),
        bag(list(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))),
    )


class Matches(NamedTuple):
    """What BLEU is made of, and can be added up over a corpus.

    matched, total: weights of matching and of all n-grams at orders 1 to 4. reference_length,
    length: tokens of reference and prediction as the brevity penalty sees them.
    """

    matched: tuple[float, ...]
    total: tuple[float, ...]
    reference_length: int
    length: int

    def plus(self, other: Matches) -> Matches:
        """Return the sum of two."""
        return Matches(
            tuple(a + b for a, b in zip(self.matched, other.matched, strict=True)),
            tuple(a + b for a, b in zip(self.total, other.total, strict=True)),
            self.reference_length + other.reference_length,
            self.length + other.length,
        )

    def bleu(self) -> float:
        """Return the geometric mean of the shares matched, times the brevity penalty.

        An order without any n-gram (total 0) is left out; an order without a match counts
        EPSILON; without a matching token the result is 0. Source: Papineni et al. (2002).
        """
        if self.matched[0] == 0 or self.length == 0:
            return 0.0
        product, orders = 1.0, 0
        for matched, total in zip(self.matched, self.total, strict=True):
            if total:
                product *= (matched or EPSILON) / total
                orders += 1
        shortage = min(0.0, 1 - self.reference_length / self.length)
        return float(math.exp(shortage) * product ** (1 / orders))
