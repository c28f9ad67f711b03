"""The unbiased estimator of pass@k."""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the probability that at least one of k answers, drawn from n, is right.

    n: answers that were sampled to one problem. c: how many of them are right. It is
    `1 - C(n - c, k) / C(n, k)`, exact integers until the last division, for any n >= k >= 1.
    Raises ValueError for counts that cannot be. Source: arXiv:2107.03374, equation 1.
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} right answers of {n} cannot be")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} answers to every problem; there are {n}")
    total = math.comb(n, k)
    return (total - math.comb(n - c, k)) / total
