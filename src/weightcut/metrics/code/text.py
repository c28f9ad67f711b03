"""A text analysed in Python; `native.py` does the same faster, where it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, Self

from weightcut.metrics.code import compat, flows
from weightcut.metrics.code.languages import KEYWORDS
from weightcut.metrics.code.ngrams import Bag, bag, grams, lexemes

SUBTREES = 5


class Analysed(Protocol):
    """A text analysed once, for any number of comparisons with another of its kind.

    It holds seven bags: n-grams of orders 1 to 4, the keywords among the words, the subtrees of the
    syntax tree, and the flows of values.
    """

    @property
    def totals(self) -> tuple[int, ...]:
        """How much is in each bag."""

    def shared(self, reference: Self, clipped: bool, /) -> tuple[int, ...]:
        """Count what each bag has in common with the reference's.

        clipped: as often as in both; otherwise each subtree of the reference that is here at all
        counts as often as it is there.
        """


class Text(NamedTuple):
    """The bags of a text; see `Analysed`."""

    bags: tuple[Bag, ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """How much is in each bag."""
        return tuple([bag.total for bag in self.bags])

    def shared(self, reference: Text, clipped: bool, /) -> tuple[int, ...]:
        """Count what each bag has in common with the reference's; see `Analysed`."""
        found = [
            ours.shared(theirs) for ours, theirs in zip(self.bags, reference.bags, strict=True)
        ]
        if not clipped:
            ours, theirs = self.bags[SUBTREES].counts, reference.bags[SUBTREES].counts
            found[SUBTREES] = sum([theirs[tree] for tree in theirs.keys() & ours.keys()])
        return tuple(found)


def analyse(text: str, lang: str, mode: Literal["compat", "fixed"]) -> Text:
    """Analyse a text."""
    words: Sequence[str] = text.split() if mode == "compat" else lexemes(text)
    analysis = (compat if mode == "compat" else flows).analyse(text, lang)
    keywords = KEYWORDS[lang]
    return Text(
        (
            *grams(words),
            bag([word for word in words if word in keywords]),
            bag(analysis.subtrees),
            bag(analysis.flows),
        )
    )
