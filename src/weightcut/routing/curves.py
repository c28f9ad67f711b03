"""Cost-quality curves of routing and the figures read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightcut.routing.calibrate import Ints, break_even, choose
from weightcut.routing.policy import Floats

POINTS = 101
_FINE = 501


@dataclass(frozen=True)
class Curve:
    """Mean quality and cost when more and more prompts go to dearer variants.

    budget: from 0 (everything to the cheapest variant) to 1 (everything to the full one); with two
    variants the share of prompts that the full one answers. quality, cost: means over all prompts.
    full_cost: of always using the full variant.
    """

    budget: Floats
    quality: Floats
    cost: Floats
    full_cost: float


def curve(
    predicted: Floats,
    quality: Floats,
    cost: Floats,
    saved: Floats,
    full_cost: float,
    seed: int = 0,
) -> Curve:
    """Return the curve of routing n prompts by predicted qualities [n, V] at POINTS budgets.

    Equal scores are in random order. saved: as in `calibrate.choose`.
    """
    if quality.shape[1] == 2:
        return _ranked(predicted[:, 1] - predicted[:, 0], quality, cost, full_cost, seed)
    if saved.max() <= 0:
        saved = np.linspace(1, 0, len(saved))
    prices = np.quantile(break_even(predicted, saved), np.linspace(0, 1, _FINE))
    chosen = choose(predicted, saved, prices)
    rows = np.arange(len(quality))[:, None]
    spent = (1 - saved[chosen]).mean(0)
    low, high = 1 - saved.max(), 1.0
    budget = (spent - low) / (high - low)
    ends: list[Ints] = [np.full(len(quality), np.argmax(saved)), np.full(len(quality), -1)]
    all_quality = [quality[rows[:, 0], end].mean() for end in ends]
    all_cost = [cost[rows[:, 0], end].mean() for end in ends]
    x = np.concatenate([[0.0], budget, [1.0]])
    q = np.concatenate([[all_quality[0]], quality[rows, chosen].mean(0), [all_quality[1]]])
    c = np.concatenate([[all_cost[0]], cost[rows, chosen].mean(0), [all_cost[1]]])
    order = np.argsort(x, kind="stable")
    even = np.linspace(0, 1, POINTS)
    return Curve(
        even, np.interp(even, x[order], q[order]), np.interp(even, x[order], c[order]), full_cost
    )


def _ranked(need: Floats, quality: Floats, cost: Floats, full_cost: float, seed: int) -> Curve:
    n = len(need)
    shuffled = np.random.default_rng(seed).permutation(n)
    order = shuffled[np.argsort(-need[shuffled], kind="stable")]
    counts = np.round(np.linspace(0, 1, POINTS) * n).astype(np.int64)

    def sums(values: Floats) -> Floats:
        gains = np.concatenate([[0.0], np.cumsum((values[:, 1] - values[:, 0])[order])])
        means: Floats = (values[:, 0].sum() + gains[counts]) / n
        return means

    return Curve(np.linspace(0, 1, POINTS), sums(quality), sums(cost), full_cost)


def apgr(found: Curve) -> float | None:
    """Return the average performance gap recovered (RouteLLM, arXiv:2406.18665).

    The mean quality over all budgets, on a scale where the cheapest variant is 0 and the full one
    1. Random routing has 0.5. None where the full variant is not better.
    """
    gap = _gap(found)
    if gap <= 0:
        return None
    area = float(np.trapezoid(found.quality, found.budget))
    return (area - float(found.quality[0])) / gap


def cpt(found: Curve, percent: float) -> float | None:
    """Return the least budget (0..1) that recovers so many percent of the gap (ibid.)."""
    gap = _gap(found)
    if gap <= 0:
        return None
    recovered = (found.quality - found.quality[0]) / gap
    wanted = percent / 100
    at = int(np.argmax(recovered >= wanted - 1e-12))
    if at == 0:
        return 0.0
    before, after = recovered[at - 1], recovered[at]
    step = found.budget[at] - found.budget[at - 1]
    return float(found.budget[at - 1] + step * (wanted - before) / (after - before))


def aiq(found: Curve) -> float:
    """Return the average improvement in quality (RouterBench, arXiv:2403.12031).

    The mean height of the curve's non-decreasing concave hull over the range of costs.
    """
    order = np.lexsort((found.quality, found.cost))
    hull: list[tuple[float, float]] = []
    for c, q in zip(found.cost[order], found.quality[order], strict=True):
        q = max(q, hull[-1][1]) if hull else q
        while len(hull) > 1 and _above(hull[-2], hull[-1], (c, q)):
            hull.pop()
        hull.append((float(c), float(q)))
    c, q = np.array(hull).T
    width = float(c[-1] - c[0])
    return float(np.trapezoid(q, c)) / width if width > 0 else float(q.max())


def _above(a: tuple[float, float], b: tuple[float, float], new: tuple[float, float]) -> bool:
    """Return whether b lies on or under the line from a to the new point."""
    return (b[0] - a[0]) * (new[1] - a[1]) >= (b[1] - a[1]) * (new[0] - a[0])


def saved_at(found: Curve, keep: float) -> float:
    """Return the largest share of the full cost saved where the share `keep` of quality is kept.

    Read off the curve with hindsight: what a perfectly set threshold would have saved.
    """
    good = found.quality >= keep * found.quality[-1] - 1e-12
    if found.full_cost <= 0:
        return 0.0
    return max(0.0, 1 - float(found.cost[good].min()) / found.full_cost)


def _gap(found: Curve) -> float:
    return float(found.quality[-1] - found.quality[0])
