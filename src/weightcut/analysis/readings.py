"""Raw readings as figures: percentiles and quotients that survive missing and broken values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightcut.analysis.frames import usable
from weightcut.records.results import Percentiles


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Return p50, p90 and p99 in milliseconds.

    Linear interpolation between order statistics (numpy's default, type 7 of Hyndman and Fan 1996);
    with few readings p99 is close to the largest.
    """
    finite = [value for value in seconds if usable(value)]
    if not finite:
        return Percentiles(p50=None, p90=None, p99=None)
    p50, p90, p99 = (1000 * float(q) for q in np.percentile(finite, [50, 90, 99]))
    return Percentiles(p50=p50, p90=p90, p99=p99)


def quotient(top: float | None, bottom: float | None) -> float | None:
    """Return top / bottom, None where either is missing or the quotient has no meaning."""
    if top is None or bottom is None or bottom <= 0 or top < 0:
        return None
    return top / bottom
