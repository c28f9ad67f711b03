"""Corpus BLEU from the counts that a task keeps of each answer, with its bootstrap interval."""

from __future__ import annotations

import numpy as np

from weightcut.analysis.frames import Scores, stacked
from weightcut.analysis.statistics import RESAMPLES, Floats, resample_counts, sums, tail

ORDERS = 4
_COLUMNS = (
    *(f"bleu.matched.{n}" for n in range(1, ORDERS + 1)),
    *(f"bleu.total.{n}" for n in range(1, ORDERS + 1)),
    "bleu.length",
    "bleu.reference",
)


def corpus_bleu(scores: Scores, confidence: float, seed: int) -> dict[str, float | None] | None:
    """Return BLEU over all answers together, 0 to 1, with its interval over samples.

    None where the task keeps no counts. This is the figure of the field (matches are added up
    before any share is formed), not the mean of the answers' own BLEU; its interval is that of
    Koehn, Statistical Significance Tests for Machine Translation Evaluation (2004).
    """
    if any(column not in scores.by_sample for column in _COLUMNS):
        return None
    columns = stacked(scores, *_COLUMNS)
    n = columns.shape[1]
    value = float(bleu_of(columns.sum(axis=1, keepdims=True))[0])
    if n < 2:
        return {"value": value, "low": None, "high": None}
    drawn = [
        bleu_of(np.array([sums(counts, column) for column in columns]))
        for counts in resample_counts(n, RESAMPLES, seed)
    ]
    cut = tail(confidence, n)
    low, high = np.quantile(np.concatenate(drawn), [cut, 1 - cut])
    return {"value": value, "low": float(low), "high": float(high)}


def bleu_of(columns: Floats) -> Floats:
    """Return BLEU of each column of sums [10, rows], with sacrebleu's exponential smoothing.

    An order without a match counts 1 / 2^k of one match, k being how many orders had none so far
    (Chen and Cherry 2014, method 3). Without any match, or an order without n-grams, it is 0.
    """
    matched, total = columns[:ORDERS], columns[ORDERS : 2 * ORDERS]
    length, reference = columns[2 * ORDERS :]
    misses = np.cumsum(matched == 0, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(matched > 0, matched, 0.5**misses) / total
        penalty = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        score = penalty * np.exp(np.log(shares).mean(axis=0))
    counts = (total > 0).all(axis=0) & (matched > 0).any(axis=0)
    return np.where(counts, np.minimum(score, 1.0), 0.0)
