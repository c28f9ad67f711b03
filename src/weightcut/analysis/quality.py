"""Quality of one variant on its own and beside the baseline: values, intervals, retentions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from weightcut.analysis.corpus_bleu import corpus_bleu
from weightcut.analysis.frames import Scores, shared, stacked
from weightcut.analysis.statistics import (
    RESAMPLES,
    Floats,
    Ratio,
    mean_interval,
    paired_ratio,
    resample_counts,
    sums,
    tail,
    weighted_ratio_interval,
    wilson,
)

DEFECTS = frozenset({"degenerate", "regression", "repetition", "token_limit"})
PASS_AT = (10, 100)
"""The k of pass@k that are told beside 1 and the number of answers, where there are so many."""
LIKELIHOOD_METRICS = ("perplexity", "bits_per_byte", "top1_agreement")
_PER_TOKEN = {
    "kl": "kl",
    "top1_agreement": "agree",
    "top1_accuracy": "right",
    "flips_lost": "lost",
    "flips_gained": "gained",
    "pooled_mass": "pooled",
}
_OF_ITSELF = {"kl": 0.0, "top1_agreement": 1.0}
"""What the baseline would measure against itself."""
ALIASES = {"pass@1": "passed", "top1": "top1_agreement"}


@dataclass(frozen=True)
class Settings:
    """How intervals are formed: two-sided confidence and the seed of the resampling."""

    confidence: float
    seed: int


def public_name(metric: str) -> str:
    """Return the name of a metric in the results: the share of `passed` answers is pass@1."""
    return "pass@1" if metric == "passed" else metric


def has_metric(scores: Scores, metric: str) -> bool:
    """Return whether a task's scores hold a metric, named as in a study."""
    if scores.likelihood:
        return metric in LIKELIHOOD_METRICS
    return ALIASES.get(metric, metric) in scores.by_sample


def summarize(scores: Scores, settings: Settings, *, baseline: bool) -> dict[str, Any]:
    """Return what the results say of one variant on one task."""
    if scores.likelihood:
        return _summarize_likelihood(scores, settings, baseline=baseline)
    summary: dict[str, Any] = {"n": scores.samples, "answers": scores.answers}
    for metric in scores.metrics:
        column = np.array(list(scores.column(metric).values()))
        if scores.is_share(metric):
            summary[public_name(metric)] = share_interval(scores, metric, settings)
        else:
            summary[metric] = float(column.mean())
    corpus = corpus_bleu(scores, settings.confidence, settings.seed)
    if corpus:
        summary["corpus_bleu"] = corpus
    answers = min(map(len, scores.by_sample.get("passed", {"": ()}).values()))
    for k in sorted({answers, *PASS_AT}):
        if 1 < k <= answers:
            summary[f"pass@{k}"] = _pass_at_k(scores, k, settings)
    return summary


def _pass_at_k(scores: Scores, k: int, settings: Settings) -> dict[str, float | None]:
    """Return pass@k by the unbiased estimator (Chen et al. 2021), averaged over samples."""
    chances = []
    for answers in scores.by_sample["passed"].values():
        n, passed = len(answers), round(sum(answers))
        chances.append(1 - math.comb(n - passed, k) / math.comb(n, k))
    low, high = _ends(np.array(chances), settings)
    return {"value": math.fsum(chances) / len(chances), "low": low, "high": high}


def share_interval(scores: Scores, metric: str, settings: Settings) -> dict[str, float | None]:
    """Return the mean over samples of a metric in 0..1, with its interval.

    Wilson's where every sample's mean is 0 or 1, else the bootstrap over samples.
    """
    column = np.array(list(scores.column(metric).values()))
    low, high = _ends(column, settings)
    return {"value": float(column.mean()), "low": low, "high": high}


def _ends(column: Floats, settings: Settings) -> tuple[float | None, float | None]:
    """Return the interval of a mean of values in 0..1, one for each sample."""
    # Resampling values that are all 0, or all 1, would claim certainty.
    if np.isin(column, (0.0, 1.0)).all():
        return wilson(round(float(column.sum())), len(column), settings.confidence)
    if len(column) < 2:
        return None, None
    return mean_interval(column, settings.confidence, settings.seed)


def _summarize_likelihood(scores: Scores, settings: Settings, *, baseline: bool) -> dict[str, Any]:
    confidence, seed = settings.confidence, settings.seed
    nll, tokens = stacked(scores, "nll", "tokens")
    summary: dict[str, Any] = {"n": len(nll), "tokens": float(tokens.sum())}
    intervals: dict[str, dict[str, float | None]] = {}

    def add(name: str, top: Floats, bottom: Floats) -> None:
        if bottom.sum() <= 0:
            return
        ends = weighted_ratio_interval(top, bottom, confidence, seed) or (None, None)
        summary[name] = float(top.sum() / bottom.sum())
        intervals[name] = {"value": summary[name], "low": ends[0], "high": ends[1]}

    add("nll_per_token", nll, tokens)
    perplexity = {k: _exp(v) for k, v in intervals.pop("nll_per_token", {}).items()}
    if "bytes" in scores.by_sample:
        bits, text_bytes = stacked(scores, "nll", "bytes")
        add("bits_per_byte", bits / math.log(2), text_bytes)
    for name, column in _PER_TOKEN.items():
        if column in scores.by_sample:
            add(name, *stacked(scores, column, "tokens"))
        elif baseline and name in _OF_ITSELF:
            summary[name] = _OF_ITSELF[name]
    none = {"value": None, "low": None, "high": None, "bits_per_byte": None}
    empty = {**none, "kl": None, "top1_agreement": None}
    return {**empty, **perplexity, **summary, "intervals": intervals}


def _exp(value: float | None) -> float | None:
    # 700 is near the largest power of e that a float holds.
    return None if value is None or value > 700 else math.exp(value)


def retention(baseline: Scores, variant: Scores, metric: str, settings: Settings) -> Ratio:
    """Return how much of the baseline's quality is left, 1 meaning all, higher is better.

    Shares and scores: variant over baseline. Defects (degenerate, repetition, token limit,
    regression): the shares of answers without them. Perplexity and bits per byte: baseline over
    variant. Top-1 agreement: itself, as the baseline agrees with itself everywhere.
    """
    confidence, seed = settings.confidence, settings.seed
    if variant.likelihood:
        return _likelihood_retention(baseline, variant, metric, settings)
    key = ALIASES.get(metric, metric)
    b, v = shared(baseline.column(key), variant.column(key))
    if key in DEFECTS:
        b, v = 1 - b, 1 - v
    if (b < 0).any() or (v < 0).any():
        return Ratio(None, None, None, len(b), reason=f"{metric} has negative values")
    return paired_ratio(b, v, confidence, seed)


def _likelihood_retention(
    baseline: Scores, variant: Scores, metric: str, settings: Settings
) -> Ratio:
    if metric == "top1_agreement":
        if "agree" not in variant.by_sample:
            return Ratio(None, None, None, 0, reason="agreement was not measured")
        agree, tokens = stacked(variant, "agree", "tokens")
        return paired_ratio(tokens, agree, settings.confidence, settings.seed)
    per = "bytes" if metric == "bits_per_byte" else "tokens"
    sides = (baseline, variant)
    columns = shared(*(scores.column(name) for scores in sides for name in ("nll", per)))
    n = columns.shape[1]
    if n == 0:
        return Ratio(None, None, None, 0, reason="no window was measured on both")
    if (columns[[1, 3]] <= 0).any():
        return Ratio(None, None, None, n, reason=f"a window has no {per}")
    return _inverse_ratio(columns, settings, exponential=metric == "perplexity")


def _inverse_ratio(columns: Floats, settings: Settings, *, exponential: bool) -> Ratio:
    """Return baseline over variant of sum(nll) / sum(size), or of its exponential.

    columns: [4, windows], the baseline's nll and size, the variant's nll and size.
    """

    def ratio(b_nll: Floats, b_size: Floats, v_nll: Floats, v_size: Floats) -> Floats:
        rate_b, rate_v = b_nll / b_size, v_nll / v_size
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.asarray(np.exp(rate_b - rate_v) if exponential else rate_b / rate_v)

    n = columns.shape[1]
    value = float(ratio(*columns.sum(axis=1)))
    if not math.isfinite(value):
        return Ratio(None, None, None, n, reason="the variant's own value is 0")
    if n < 2:
        return Ratio(value, None, None, n, reason="one window tells no spread")
    drawn = [
        ratio(*(sums(counts, column) for column in columns))
        for counts in resample_counts(n, RESAMPLES, settings.seed)
    ]
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]
    cut = tail(settings.confidence, n)
    low, high = np.quantile(found, [cut, 1 - cut])
    return Ratio(value, float(low), float(high), n, float(found.std()) * math.sqrt(n))
