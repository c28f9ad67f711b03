"""N-gram counts of token sequences, and the BLEU formula over them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ORDERS = 4
EPSILON = 0.1  # Chen & Cherry (2014), method 1: what no match at all counts at an order
Grams = tuple[Mapping[object, int], ...]

# Longest first: an operator is one token however it is spaced.
_LEXEME = re.compile(
    r"\w+|>>>=|\*\*=|//=|<<=|>>=|>>>|===|!==|\.\.\.|<=>|&&=|\|\|=|\?\?=|&\^=|->|=>|:=|::|\*\*|//|"
    r"<<|>>|<=|>=|==|!=|&&|\|\||\?\?|\?\.|\+\+|--|<-|&\^|[-+*/%@&|^]=|\S"
)


def lexemes(text: str) -> list[str]:
    """Split code into words, numbers, operators and signs, whatever the white space between.

    Comments and string literals are split in the same way, so that both count as their words do.

    >>> lexemes("if x<=1:  # so")
    ['if', 'x', '<=', '1', ':', '#', 'so']
    """
    return _LEXEME.findall(text)


def grams(tokens: Sequence[str]) -> Grams:
    """Count the n-grams of orders 1 to 4; single tokens are keyed by themselves."""
    return (
        Counter(tokens),
        Counter(zip(tokens, tokens[1:], strict=False)),
        Counter(zip(tokens, tokens[1:], tokens[2:], strict=False)),
        Counter(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False)),
    )


def clipped(ours: Mapping[object, int], theirs: Mapping[object, int]) -> int:
    """Return how many items two counts have in common, each as often as in both."""
    common = ours.keys() & theirs.keys()
    return sum([min(ours[item], theirs[item]) for item in common])


@dataclass(frozen=True)
class Matches:
    """What BLEU is made of, and can be added up over a corpus.

    matched, total: weights of matching and of all n-grams at orders 1 to 4. reference_length,
    length: tokens of reference and prediction as the brevity penalty sees them.
    """

    matched: tuple[float, ...]
    total: tuple[float, ...]
    reference_length: int
    length: int

    def __add__(self, other: Matches) -> Matches:
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
        logs = [
            math.log((matched or EPSILON) / total)
            for matched, total in zip(self.matched, self.total, strict=True)
            if total
        ]
        shortage = min(0.0, 1 - self.reference_length / self.length)
        return math.exp(shortage + math.fsum(logs) / len(logs))
