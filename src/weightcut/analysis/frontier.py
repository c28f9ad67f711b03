"""The Pareto frontier over quality, latency, memory and size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Point:
    """One variant's place: quality (higher is better) and its costs (lower is better).

    trusted: False where a guard vetoed the variant.
    """

    name: str
    quality: float | None
    latency: float | None
    memory: float | None
    size: float | None
    trusted: bool = True


def frontier(points: Sequence[Point]) -> frozenset[str]:
    """Return the names of the variants that no other variant dominates.

    One dominates another if it is no worse in every dimension and better in at least one; equal
    ones are all on the frontier. A cost that was not measured counts as the worst possible, so that
    a missing reading never makes a variant look good. A variant without quality, or without any
    cost, has no place. One that a guard vetoed has none either, nor does it dominate others: its
    quality figure is what the guard has shown to be untrustworthy, and a broken model must not push
    sound ones off. A variant that lost quality by the primary metric alone stays: it is an honest
    trade.
    """
    placed = [p for p in points if p.trusted and p.quality is not None and _costs(p) != _NO_COSTS]
    if not placed:
        return frozenset()
    table = np.array([(-(p.quality or 0.0), *_costs(p)) for p in placed])
    no_worse = (table[:, None, :] <= table[None, :, :]).all(axis=2)
    better = (table[:, None, :] < table[None, :, :]).any(axis=2)
    dominated: list[bool] = np.any(no_worse & better, axis=0).tolist()
    return frozenset(p.name for p, out in zip(placed, dominated, strict=True) if not out)


_NO_COSTS = (math.inf,) * 3


def _costs(point: Point) -> tuple[float, ...]:
    costs = (point.latency, point.memory, point.size)
    return tuple(math.inf if cost is None else cost for cost in costs)
