"""Intervals and tests on paired samples; pure functions of arrays.

Pairs are of samples (tasks, prompts, windows), never of single answers: where a sample has several
answers, their mean is the sample's value, so that every resampling is clustered by sample.
All intervals are two-sided; a verdict that reads one end of a 95% interval errs in 2.5% of cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
POWER = 0.8
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Ratio:
    """A ratio of two paired means with its interval and what its spread allows.

    An end is None where it is unbounded or could not be formed; `reason` then says why.
    spread: standard deviation of the linearised ratio per sample, so that its standard error is
    spread / sqrt(n). unseen: the size, in units of the ratio times samples, of the one change that
    may have escaped (see `paired_ratio`).
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    spread: float = 0.0
    unseen: float = 0.0
    reason: str = ""

    def detectable(self, confidence: float) -> float | None:
        """Return the smallest change of the ratio that n samples show with a power of 80%.

        Two-sided at `confidence`, normal approximation.
        """
        if self.value is None or self.n < 2:
            return None
        factor = normal_quantile((1 + confidence) / 2) + normal_quantile(POWER)
        variance = self.spread**2 / self.n + 2 * (self.unseen / self.n) ** 2
        return factor * math.sqrt(variance)


def normal_quantile(p: float) -> float:
    """Return the standard normal quantile."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def resample_counts(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield blocks [rows, n] of how often each of n samples was drawn, `resamples` rows in all.

    The draw depends on the arguments alone, so that every metric and variant of n samples is judged
    on the same resamples.
    """
    if n * resamples <= _CHUNK:
        yield _small_resample(n, resamples, seed)
    else:
        yield from _draw(n, resamples, seed)


@lru_cache(maxsize=4)
def _small_resample(n: int, resamples: int, seed: int) -> Floats:
    (block,) = _draw(n, resamples, seed)
    block.flags.writeable = False
    return block


def _draw(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    generator = np.random.default_rng([seed, n])
    rows = max(1, _CHUNK // max(n, 1))
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), n)
        drawn = generator.integers(0, n, size=size)
        offsets = np.arange(size[0])[:, None] * n
        counts = np.bincount((drawn + offsets).ravel(), minlength=size[0] * n)
        yield counts.reshape(size).astype(np.float64)


def sums(counts: Floats, values: Floats) -> Floats:
    """Return each resample's sum of the values; [rows, n] and [n] in, [rows] out."""
    # Not `@`: for so thin a product the threads of a BLAS cost several times what they save.
    summed: Floats = np.einsum("ij,j->i", counts, values)
    return summed


def tail(confidence: float, n: int) -> float:
    """Return the share of resamples to cut at each end of an interval from n samples.

    The percentile interval is too narrow by sqrt((n - 1) / n) and by the difference between the
    normal and Student's t; the widened tails mend both (the expanded percentile interval of
    Hesterberg, What Teachers Should Know about the Bootstrap, 2015).
    """
    from scipy.stats import norm, t

    if n < 2:
        return 0.0
    quantile = t.ppf((1 - confidence) / 2, n - 1)
    return float(norm.cdf(math.sqrt(n / (n - 1)) * quantile))


def mean_interval(
    values: Floats, confidence: float, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of per-sample values."""
    return _interval(
        [sums(counts, values) for counts in resample_counts(len(values), resamples, seed)],
        len(values),
        confidence,
        scale=len(values),
    )


def _interval(
    blocks: list[Floats], n: int, confidence: float, scale: float = 1.0
) -> tuple[float, float]:
    cut = tail(confidence, n)
    low, high = np.quantile(np.concatenate(blocks) / scale, [cut, 1 - cut])
    return float(low), float(high)


def wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927)."""
    z2 = normal_quantile((1 + confidence) / 2) ** 2
    p = successes / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return (
        0.0 if successes == 0 else max(0.0, centre - half),
        1.0 if successes == n else min(1.0, centre + half),
    )


def paired_ratio(
    baseline: Floats, variant: Floats, confidence: float, seed: int, resamples: int = RESAMPLES
) -> Ratio:
    """Return mean(variant) / mean(baseline) over the same samples, with its bootstrap interval.

    Both arrays hold one non-negative value per sample. Samples are drawn as pairs; the interval is
    the expanded percentile interval (see `tail`).

    Where few answers changed, resampling alone is sure of too much: 164 answers of which none
    changed would give [1, 1], although one in fifty may change in truth. So two made-up samples
    join the draw, one that loses an answer and one that gains one, of the size of a typical answer
    (mean square over mean) times the share of answers that did not change; as with Agresti and
    Min's pseudo-observations for paired proportions, they widen the interval of an unchanged
    metric to about 3 / n and leave that of a thoroughly changed one alone. The value is the plain
    ratio without them.
    """
    n = len(baseline)
    total = float(baseline.sum())
    if n == 0:
        return Ratio(None, None, None, 0, reason="no sample was measured on both")
    if total <= 0:
        return Ratio(None, None, None, n, reason="the baseline's own value is 0")
    value = float(variant.sum()) / total
    unchanged = float(np.mean(baseline == variant))
    size = unchanged * float(baseline @ baseline) / total
    b, v = baseline, variant
    if size > 0:
        b, v = np.append(b, [size, 0.0]), np.append(v, [0.0, size])
    ratios = []
    for counts in resample_counts(len(b), resamples, seed):
        bottom, top = sums(counts, b), sums(counts, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios.append(np.where(bottom > 0, top / bottom, np.inf))
    cut = tail(confidence, n)
    low, high = _quantiles(np.concatenate(ratios), cut)
    residual = variant - value * baseline
    spread = float(np.sqrt(np.mean(residual**2))) * n / total
    unseen = size * n / total
    if n < 2:
        return Ratio(value, None, None, n, spread, unseen, "one sample tells no spread")
    reason = "" if high is not None else "the baseline's value is too near 0 to bound the ratio"
    # The made-up samples pull towards 1; the estimate itself always belongs to its interval.
    low = None if low is None else min(low, value)
    high = None if high is None else max(high, value)
    return Ratio(value, low, high, n, spread, unseen, reason)


def median_ratio(
    top: Floats, bottom: Floats, confidence: float, seed: int, resamples: int = RESAMPLES
) -> Ratio:
    """Return median(top) / median(bottom) over the same prompts, with its bootstrap interval.

    Prompts are drawn as pairs; the interval is the expanded percentile interval (see `tail`). All
    values are positive. The ratio moves in steps from one pair to the next, so the interval is a
    wide one: it covers more than it promises where prompts differ much among themselves.
    """
    n = len(top)
    if n == 0:
        return Ratio(None, None, None, 0, reason="no prompt was timed on both")
    value = float(np.median(top) / np.median(bottom))
    if n < 2:
        return Ratio(value, None, None, n, reason="one prompt tells no spread")
    drawn = np.random.default_rng([seed, n]).integers(0, n, size=(resamples, n))
    ratios = np.median(top[drawn], axis=1) / np.median(bottom[drawn], axis=1)
    low, high = _quantiles(ratios, tail(confidence, n))
    return Ratio(value, low, high, n)


def _quantiles(values: Floats, cut: float) -> tuple[float | None, float | None]:
    """Return both cut points by order statistics, None for an infinite one."""
    ordered = np.sort(values)
    last = len(ordered) - 1
    ends = (ordered[math.floor(cut * last)], ordered[math.ceil((1 - cut) * last)])
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return low, high


def weighted_ratio_interval(
    top: Floats, bottom: Floats, confidence: float, seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the bootstrap interval of sum(top) / sum(bottom), for example nats per token."""
    n = len(top)
    if n < 2:
        return None
    found = []
    for counts in resample_counts(n, resamples, seed):
        below = sums(counts, bottom)
        found.append(sums(counts, top)[below > 0] / below[below > 0])
    return _interval(found, n, confidence)


def samples_to_decide(ratio: Ratio, margin: float, confidence: float, cap: int) -> int | None:
    """Return how many samples in all would move the interval off the margin.

    Assumes that the estimate and the observed paired spread stay as they are; normal
    approximation. None where the estimate sits on the margin or more than `cap` were needed.
    """
    if ratio.value is None:
        return None
    gap2 = (ratio.value - margin) ** 2
    z2 = normal_quantile((1 + confidence) / 2) ** 2
    # gap^2 N^2 = z^2 (spread^2 N + 2 unseen^2), solved for N
    linear, constant = z2 * ratio.spread**2, 2 * z2 * ratio.unseen**2
    if gap2 * cap**2 < linear * cap + constant:
        return None
    if gap2 == 0:
        return None
    return math.floor((linear + math.sqrt(linear**2 + 4 * gap2 * constant)) / (2 * gap2)) + 1


def mcnemar_worse(lost: int, gained: int) -> float:
    """Return the exact one-sided p-value that losses outweigh gains among changed samples.

    McNemar's test in its exact, binomial form: of `lost + gained` changed samples at least `lost`
    were losses, by chance alone; 1 where nothing changed.
    """
    from scipy.stats import binom

    changed = lost + gained
    return 1.0 if changed == 0 else float(binom.sf(lost - 1, changed, 0.5))


def mcnemar_two_sided(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value that losses and gains are equally likely."""
    return min(1.0, 2 * mcnemar_worse(max(lost, gained), min(lost, gained)))


def sign_flip_worse(loss: Floats, seed: int, draws: int = RESAMPLES) -> float:
    """Return the one-sided p-value that the mean loss exceeds 0, by random flips of its signs.

    loss: per sample, positive where the variant is worse. For samples with one pass/fail answer
    each this is McNemar's test; here for the means of several answers. The observed signs count
    as one draw, so that p is never 0.
    """
    moved = loss[loss != 0]
    if len(moved) == 0:
        return 1.0
    generator = np.random.default_rng([seed, len(moved)])
    signs = generator.integers(0, 2, size=(draws, len(moved)), dtype=np.int8) * 2 - 1
    # A hair's breadth below the observed sum, so that rounding does not hide ties.
    reached = signs @ moved >= moved.sum() - 1e-9 * np.abs(moved).sum()
    return (1 + int(np.count_nonzero(reached))) / (draws + 1)


def mean_above(sums: Floats, weights: Floats, limit: float) -> float | None:
    """Return the one-sided p-value that sum(sums) / sum(weights) exceeds `limit` in truth.

    Student's t-test over windows on `sums - limit * weights`; None from fewer than two windows.
    """
    from scipy.stats import t

    excess = sums - limit * weights
    n = len(excess)
    if n < 2:
        return None
    deviation = float(excess.std(ddof=1))
    mean = float(excess.mean())
    if deviation <= 1e-12 * abs(mean):
        return 0.0 if mean > 0 else 1.0
    return float(t.sf(mean / (deviation / math.sqrt(n)), n - 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number by Holm's step-down method (Holm 1979).

    Those that are None are not tests: they stay None and do not count.
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        corrected[i] = running
    return corrected


def spearman(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; None where one is constant."""
    from scipy.stats import rankdata

    if len(x) < 2 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    a: Any = rankdata(x)
    b: Any = rankdata(y)
    return float(np.corrcoef(a, b)[0, 1])
