"""CodeBLEU: how near an answer's words, syntax and flows of values are to a reference's.

Source of the measure: arXiv:2009.10297. Two modes: `fixed`, with the known defects of the common
implementation mended, and `compat`, which reproduces the package `codebleu` 0.7.0 with them.
docs/codebleu.md tells each difference with an example.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import mul
from typing import Literal, NamedTuple

from weightcut.errors import UsageError
from weightcut.metrics.code import native
from weightcut.metrics.code import text as pure
from weightcut.metrics.code.languages import language
from weightcut.metrics.code.ngrams import Matches
from weightcut.metrics.code.text import Analysed

Mode = Literal["compat", "fixed"]
Weights = tuple[float, float, float, float]
EQUAL: Weights = (0.25, 0.25, 0.25, 0.25)
LONGEST = 1_000_000  # characters; a longer text is not code that somebody would read
REMEMBERED = 20_000  # characters; analyses of longer texts would fill the memory
OTHER_WORDS = 0.2  # weight of a word that is no keyword, which has weight 1


@dataclass(frozen=True)
class CodeBleu:
    """CodeBLEU and its four parts, each 0..1.

    has_dataflow: whether there are flows of values to match at all; in fixed mode the dataflow
    match is otherwise 0 and left out of the mean.
    """

    codebleu: float
    ngram_match: float
    weighted_ngram_match: float
    syntax_match: float
    dataflow_match: float
    has_dataflow: bool = True


class Counts(NamedTuple):
    """What a pair (or, added up, a corpus) has in common: all that CodeBLEU is computed from.

    syntax, dataflow: (matches, total). mode: decides how they become a score.
    """

    mode: Mode
    ngrams: Matches
    weighted: Matches
    syntax: tuple[int, int]
    dataflow: tuple[int, int]

    def plus(self, other: Counts) -> Counts:
        """Return the sum of two."""
        return Counts(
            self.mode,
            self.ngrams.plus(other.ngrams),
            self.weighted.plus(other.weighted),
            (self.syntax[0] + other.syntax[0], self.syntax[1] + other.syntax[1]),
            (self.dataflow[0] + other.dataflow[0], self.dataflow[1] + other.dataflow[1]),
        )

    def score(self, weights: Weights = EQUAL) -> CodeBleu:
        """Return the score at these weights of n-grams, weighted n-grams, syntax and dataflow."""
        parts = (
            self.ngrams.bleu(),
            self.weighted.bleu(),
            _share(self.syntax),
            _share(self.dataflow),
        )
        has_dataflow = self.dataflow[1] > 0
        if self.mode == "compat":
            counted = (*parts[:3], parts[3] or 1.0)
            total = sum(map(mul, weights, counted))
        else:
            used = weights if has_dataflow else (*weights[:3], 0.0)
            total = sum(map(mul, used, parts)) / (sum(used) or 1)
        return CodeBleu(total, *parts, has_dataflow)


def _share(match: tuple[int, int]) -> float:
    return match[0] / match[1] if match[1] else 0.0


def codebleu(
    reference: str,
    prediction: str,
    lang: str = "python",
    mode: Mode = "fixed",
    weights: Weights = EQUAL,
) -> CodeBleu:
    """Score one answer against one reference.

    weights: of n-grams, weighted n-grams, syntax and dataflow; in fixed mode only their ratios
    count. An unknown language or mode, or weights that are not four numbers >= 0 with a positive
    sum, raise UsageError. A text longer than LONGEST characters has nothing in common with any.
    """
    return counts(reference, prediction, lang, mode).score(checked(weights))


def corpus_codebleu(
    pairs: Iterable[tuple[str, str]],
    lang: str = "python",
    mode: Mode = "fixed",
    weights: Weights = EQUAL,
) -> CodeBleu:
    """Score a corpus of (reference, prediction): matches are added up before any share is formed.

    This is the corpus level of BLEU, and of the package; it is not the mean of the pairs' scores.
    """
    one_by_one = (counts(reference, prediction, lang, mode) for reference, prediction in pairs)
    return score_corpus(one_by_one, weights)


def score_corpus(all_counts: Iterable[Counts], weights: Weights = EQUAL) -> CodeBleu:
    """Score a corpus, which may be of several languages, from its pairs' counts."""
    found = list(all_counts)
    if not found:
        raise UsageError("a corpus needs at least one pair")
    total = reduce(Counts.plus, found)
    return total.score(checked(weights))


def checked(weights: Weights) -> Weights:
    """Return the weights, if they are ones, else raise UsageError."""
    if len(weights) != 4 or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise UsageError(f"weights must be four numbers >= 0 with a positive sum, not {weights}")
    return weights


def counts(reference: str, prediction: str, lang: str, mode: Mode = "fixed") -> Counts:
    """Return what the pair has in common; see `Counts`."""
    lang = language(lang)
    if mode not in ("compat", "fixed"):
        raise UsageError(f"unknown mode {mode!r}; known: compat, fixed")
    ours, theirs = _analysed(prediction, lang, mode), _analysed(reference, lang, mode)
    return _compat_counts(theirs, ours) if mode == "compat" else _fixed_counts(theirs, ours)


def _analysed(text: str, lang: str, mode: Mode) -> Analysed:
    return (_remembered if len(text) <= REMEMBERED else _analyse)(text, lang, mode)


def _analyse(text: str, lang: str, mode: Mode) -> Analysed:
    text = text.strip() if len(text) <= LONGEST else ""
    if native.missing():
        return pure.analyse(text, lang, mode)
    return native.analyse(text, lang, mode)


# A reference that many answers are compared with is analysed once.
_remembered = lru_cache(maxsize=1024)(_analyse)


def _compat_counts(reference: Analysed, prediction: Analysed) -> Counts:
    """Count as the package does; see docs/codebleu.md for what is wrong with it.

    The weighted n-grams are a recall, and their brevity penalty compares the prediction with a
    reference of 2 tokens; subtrees of the reference count without clipping.
    """
    *grams, keywords, subtrees, flows = prediction.shared(reference, False)
    ours, theirs = prediction.totals, reference.totals
    words, *longer = theirs[:4]
    return Counts(
        "compat",
        Matches(tuple(grams), _at_least_one(ours[:4]), words, ours[0]),
        Matches(
            (_weigh(grams[0], keywords), *grams[1:]),
            _at_least_one((_weigh(words, theirs[4]), *longer)),
            2,
            ours[0],
        ),
        (subtrees, theirs[5]),
        (flows, theirs[6]),
    )


def _fixed_counts(reference: Analysed, prediction: Analysed) -> Counts:
    """Count precision of n-grams with a brevity penalty, and F1 of subtrees and flows.

    The F1 score of two bags is twice what they share over what they hold together.
    """
    *grams, keywords, subtrees, flows = prediction.shared(reference, True)
    ours, theirs = prediction.totals, reference.totals
    words, *longer = ours[:4]
    lengths = (theirs[0], words)
    return Counts(
        "fixed",
        Matches(tuple(grams), ours[:4], *lengths),
        Matches(
            (_weigh(grams[0], keywords), *grams[1:]), (_weigh(words, ours[4]), *longer), *lengths
        ),
        (2 * subtrees, ours[5] + theirs[5]),
        (2 * flows, ours[6] + theirs[6]),
    )


def _weigh(words: int, keywords: int) -> float:
    return keywords + OTHER_WORDS * (words - keywords)


def _at_least_one(totals: tuple[float, ...]) -> tuple[float, ...]:
    return tuple([max(1, total) for total in totals])
