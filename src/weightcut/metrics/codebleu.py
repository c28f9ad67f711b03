"""CodeBLEU: how near an answer's words, syntax and flows of values are to a reference's.

Source of the measure: arXiv:2009.10297. Two modes: `fixed`, with the known defects of the common
implementation mended, and `compat`, which reproduces the package `codebleu` 0.7.0 with them.
docs/codebleu.md tells each difference with an example.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from typing import Literal

from weightcut.errors import UsageError
from weightcut.metrics.code import compat, flows
from weightcut.metrics.code.languages import KEYWORDS, language
from weightcut.metrics.code.ngrams import Grams, Matches, clipped, grams, lexemes

Mode = Literal["compat", "fixed"]
Weights = tuple[float, float, float, float]
EQUAL: Weights = (0.25, 0.25, 0.25, 0.25)
LONGEST = 1_000_000  # characters; a longer text is not code that somebody would read
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


@dataclass(frozen=True)
class _Text:
    """A text analysed once, for any number of comparisons."""

    length: int
    grams: Grams
    keyword_weight: Mapping[object, float]
    subtrees: Mapping[int, int]
    flows: flows.Flows
    too_long: bool = False


@dataclass(frozen=True)
class Counts:
    """What a pair (or, added up, a corpus) has in common: all that CodeBLEU is computed from.

    syntax, dataflow: (matches, total). mode: decides how they become a score.
    """

    mode: Mode
    ngrams: Matches
    weighted: Matches
    syntax: tuple[int, int]
    dataflow: tuple[int, int]

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.mode,
            self.ngrams + other.ngrams,
            self.weighted + other.weighted,
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
            total = sum(w * part for w, part in zip(weights, counted, strict=True))
        else:
            used = weights if has_dataflow else (*weights[:3], 0.0)
            scale = sum(used) / sum(weights) if sum(used) else 1.0
            total = sum(w * part for w, part in zip(used, parts, strict=True)) / scale
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
    try:
        total = reduce(add, all_counts)
    except TypeError as error:
        raise UsageError("a corpus needs at least one pair") from error
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
    ours, theirs = _analyse(prediction, lang, mode), _analyse(reference, lang, mode)
    return _compat_counts(theirs, ours) if mode == "compat" else _fixed_counts(theirs, ours)


@lru_cache(maxsize=2048)
def _analyse(text: str, lang: str, mode: Mode) -> _Text:
    """Analyse a text; a reference that many answers are compared with is analysed once."""
    text = text.strip()
    if mode == "compat":
        words = text.split()
        compat_analysis = compat.analyse(text, lang)
        subtrees, value_flows = compat_analysis.subtrees, compat_analysis.flows
    else:
        if len(text) > LONGEST:
            text = ""
        words = lexemes(text)
        analysis = flows.analyse(text, lang)
        subtrees, value_flows = analysis.subtrees, analysis.flows
    keywords = KEYWORDS[lang]
    counted = grams(words)
    weight = {word: 1.0 if word in keywords else OTHER_WORDS for word in counted[0]}
    return _Text(len(words), counted, weight, Counter(subtrees), value_flows)


def _total(counted: Mapping[object, int]) -> int:
    return sum(counted.values())


def _compat_counts(reference: _Text, prediction: _Text) -> Counts:
    """Count as the package does; see docs/codebleu.md for what is wrong with it.

    The weighted n-grams are a recall, and their brevity penalty compares the prediction with a
    reference of 2 tokens; subtrees of the reference count without clipping.
    """
    matched = [
        clipped(ours, theirs)
        for ours, theirs in zip(prediction.grams, reference.grams, strict=True)
    ]
    ngrams = Matches(
        tuple(matched),
        tuple(max(1, _total(ours)) for ours in prediction.grams),
        reference.length,
        prediction.length,
    )
    weighted = Matches(
        (_weighted(reference, prediction), *matched[1:]),
        (
            max(1, _weighted(reference, reference)),
            *(max(1, _total(theirs)) for theirs in reference.grams[1:]),
        ),
        2,
        prediction.length,
    )
    common = sum([n for tree, n in reference.subtrees.items() if tree in prediction.subtrees])
    return Counts(
        "compat",
        ngrams,
        weighted,
        (common, _total(reference.subtrees)),
        (clipped(reference.flows, prediction.flows), _total(reference.flows)),
    )


def _weighted(reference: _Text, prediction: _Text) -> float:
    ours, theirs, weight = prediction.grams[0], reference.grams[0], reference.keyword_weight
    common = ours.keys() & theirs.keys()
    return sum([min(ours[word], theirs[word]) * weight[word] for word in common])


def _fixed_counts(reference: _Text, prediction: _Text) -> Counts:
    """Count precision of n-grams with a brevity penalty, and F1 of subtrees and flows.

    The F1 score of two bags is twice what they share over what they hold together.
    """
    matched = [
        clipped(ours, theirs)
        for ours, theirs in zip(prediction.grams, reference.grams, strict=True)
    ]
    totals = [_total(ours) for ours in prediction.grams]
    own = prediction.keyword_weight
    weighted_total = sum([n * own[word] for word, n in prediction.grams[0].items()])
    lengths = (reference.length, prediction.length)
    empty = not prediction.length
    syntax, value_flows = prediction.subtrees, prediction.flows
    return Counts(
        "fixed",
        Matches(tuple(matched), tuple(totals), *lengths),
        Matches(
            (_weighted(reference, prediction), *matched[1:]),
            (weighted_total, *totals[1:]),
            *lengths,
        ),
        (
            0 if empty else 2 * clipped(syntax, reference.subtrees),
            _total(syntax) + _total(reference.subtrees),
        ),
        (
            2 * clipped(value_flows, reference.flows),
            _total(value_flows) + _total(reference.flows),
        ),
    )
