"""BLEU on code tokens."""

from __future__ import annotations

from collections.abc import Sequence

from weightcut.errors import UsageError


def bleu(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Return the corpus BLEU, 0..100, of texts whose tokens are separated by white space.

    It is sacrebleu's with tokenize="none" and one reference each, which is how CodeXGLUE's figures
    were made. Unequal numbers of texts raise UsageError; so do no texts at all.
    """
    if len(references) != len(predictions):
        raise UsageError(f"{len(references)} references but {len(predictions)} predictions")
    if not references:
        raise UsageError("BLEU needs at least one pair")
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True)
    return float(metric.corpus_score(list(predictions), [list(references)]).score)


def sentence_bleu(reference: str, prediction: str) -> float:
    """Return the BLEU of one pair, 0..100: orders too long for the text are left out."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True, effective_order=True)
    return float(metric.sentence_score(prediction, [reference]).score)


def bleu_counts(reference: str, prediction: str) -> dict[str, float]:
    """Return what a corpus BLEU adds up over pairs, in a task's values.

    `bleu.matched.1` to `.4` and `bleu.total.1` to `.4` count n-grams, `bleu.length` and
    `bleu.reference` tokens of the prediction and of the reference.
    """
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize="none", force=True)
    found = metric.corpus_score([prediction], [[reference]])
    orders = range(4)
    return {
        **{f"bleu.matched.{n + 1}": float(found.counts[n]) for n in orders},
        **{f"bleu.total.{n + 1}": float(found.totals[n]) for n in orders},
        "bleu.length": float(found.sys_len),
        "bleu.reference": float(found.ref_len),
    }
