"""Choosing the threshold so that a promise about quality holds on prompts not yet seen.

Learn then test (Angelopoulos, Bates, Candes, Jordan, Lei 2021, arXiv:2110.01052): every threshold
is a hypothesis, "routing with it loses more than it may", and is used only once it is rejected.
The thresholds are tested in a sequence fixed beforehand, from "everything to the full model"
towards "everything to the cheapest", up to the first that is not rejected (fixed sequence testing,
ibid. section 3.2): no correction for their number is needed. The p-values hold for any bounded loss
and any number of prompts, without assumptions on its distribution other than that the prompts are
drawn alike and independently: betting by Waudby-Smith and Ramdas 2020 (arXiv:2010.09686, theorem 3
with predictable plug-in bets), whose width follows the variance of the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightcut.routing.policy import Floats

Ints = npt.NDArray[np.int64]
GRID = 401
"""Thresholds that are tried."""
FOR_THE_MEAN = 0.25
"""Share of the admitted error that is spent on the mean over all prompts that could ever come.

The bound is on that mean. Whoever checks the promise does so on a finite batch, whose own luck adds
to the error: the rest is left for it, which suffices for batches about as large as the calibration
part (measured by benchmarks/routing.py; it is not part of the theorem).
"""


@dataclass(frozen=True)
class Promise:
    """What can be promised, and what was seen when it was established.

    allowance: the threshold found, None where none could be. prompts: of the calibration, copies of
    one prompt being one. kept, saved: share of the full model's quality kept and of its cost saved
    on them. needed: where nothing can be promised, about how many calibration prompts like these
    would do, None where no number would. says: all of it in words.
    """

    allowance: float | None
    keep: float
    confidence: float
    prompts: int
    p_value: float | None
    kept: float
    saved: float
    needed: int | None = None

    @property
    def says(self) -> str:
        """The promise in words."""
        sure = f"{self.confidence:.1%}"
        if self.allowance is None:
            return (
                f"With {self.prompts} calibration prompts nothing can be promised at a confidence "
                f"of {sure}: everything goes to the full model. {self._cure}"
            )
        return (
            f"With a confidence of {sure} the mean quality lost against always using the full "
            f"model is at most {1 - self.keep:.1%} of it. On {self.prompts} calibration prompts "
            f"{self.kept:.1%} was kept and {self.saved:.1%} of the cost saved."
        )

    @property
    def _cure(self) -> str:
        if self.needed is None:
            return (
                "On these prompts no threshold kept enough quality and saved anything, so that "
                "more of them would not help; a lower share to keep (--keep) may."
            )
        return (
            f"At the quality seen here, about {self.needed:,} calibration prompts would allow a "
            "promise; a lower share to keep (--keep) or a lower --confidence needs fewer."
        )


def betting_p_values(losses: Floats, limit: float, delta: float) -> Floats:
    """Return p-values of "the mean loss is above the limit" for losses [n, G] in 0..1: [G].

    The capital of a gambler who bets against each hypothesis grows only by luck while it is true
    (Ville's inequality): the p-value is one over the highest capital reached. delta: the level at
    which the bets are the best ones; validity does not depend on it. Rows must be in random order.
    """
    n = len(losses)
    if n == 0:
        return np.ones(losses.shape[1])
    turns = np.arange(1, n + 1)[:, None]
    means = (0.5 + np.cumsum(losses, axis=0)) / (turns + 1)
    spread = (0.25 + np.cumsum((losses - means) ** 2, axis=0)) / (turns + 1)
    before = np.vstack([np.full((1, losses.shape[1]), 0.25), spread[:-1]])
    bets = np.sqrt(2 * math.log(1 / delta) / (n * before))
    bets = np.minimum(bets, 0.95 / (1 - limit)) if limit < 1 else np.zeros_like(bets)
    wealth = np.cumsum(np.log1p(-bets * (losses - limit)), axis=0)
    p_values: Floats = np.minimum(1.0, np.exp(-wealth.max(axis=0)))
    return p_values


def prompts_needed(losses: Floats, limit: float, delta: float) -> int | None:
    """Return about how many prompts would reject "the mean loss is above the limit", None if none.

    losses [n, G], each column a threshold: the best of them, and the best constant bet on it, were
    the prompts to go on as these. Bets that are still to be learnt need more: a half is added.
    """
    bets = np.linspace(0, 0.95 / (1 - limit), 9)[1:] if limit < 1 else np.zeros(0)
    growth = [float(np.log1p(-bet * (losses - limit)).mean(0).max()) for bet in bets]
    best = max(growth, default=0.0)
    return math.ceil(1.5 * math.log(1 / delta) / best) if best > 1e-5 else None


def choose(predicted: Floats, saved: Floats, allowances: Floats) -> Ints:
    """Return which variant each prompt goes to at each allowance: [n, G] of variant numbers.

    predicted: expected quality [n, V]. saved: share of the full model's cost that each variant
    saves [V], the full one 0. The rule of `Router.decide`: the largest margin of what the allowance
    grants for the saving over the quality expected to be lost; the full model where none has one.
    """
    lost = predicted[:, -1:] - predicted[:, :-1]
    best = np.full((len(predicted), len(allowances)), -np.inf)
    chosen = np.zeros(best.shape, np.int64)
    for variant in range(predicted.shape[1] - 1):
        margin = allowances[None, :] * saved[variant] - lost[:, variant, None]
        better = margin > best
        best, chosen = np.where(better, margin, best), np.where(better, variant, chosen)
    chosen[best < 0] = predicted.shape[1] - 1
    return chosen


def grid(predicted: Floats, saved: Floats) -> Floats:
    """Return the thresholds to test, in order, from the predictions for *training* prompts.

    They span all that matter: below the first every prompt goes to the full model. They must not
    depend on the calibration prompts' outcomes.
    """
    prices = break_even(predicted, saved)
    if not len(prices):
        return np.zeros(0)
    low, high = float(prices.min()), float(prices.max())
    margin = 0.05 * (high - low) + 1e-6
    even = np.linspace(low - margin, high + margin, GRID // 2)
    return np.unique(np.concatenate([even, np.quantile(prices, np.linspace(0, 1, GRID // 2))]))


def break_even(predicted: Floats, saved: Floats) -> Floats:
    """Return the allowances at which one variant becomes better than another for some prompt."""
    prices = [
        (predicted[:, dear] - predicted[:, light]) / (saved[light] - saved[dear])
        for light in range(len(saved))
        for dear in range(len(saved))
        if saved[light] > saved[dear]
    ]
    return np.concatenate(prices) if prices else np.zeros(0)


def calibrate(
    predicted: Floats,
    quality: Floats,
    cost: Floats,
    saved: Floats,
    allowances: Floats,
    keep: float,
    confidence: float,
    seed: int,
    full_cost: Floats | None = None,
    groups: Ints | None = None,
) -> Promise:
    """Return the most saving threshold under which the share `keep` of the quality is kept.

    On n calibration prompts: predicted, quality, cost [n, V]. The loss of a prompt is
    keep x quality(full) - quality(routed), which lies between -1 and keep; that its mean is at most
    0 means that the mean quality kept is at least `keep` of the full model's. full_cost: of always
    using the full model [n], where that is not the last column of cost. groups: a number that
    copies of one prompt share [n], as `Table.groups`; copies are one draw, so that a group has one
    loss, their mean, and the promise is about the mean over groups, each counting once however many
    copies it has. None: no two are copies.
    """
    groups = numbered(np.arange(len(quality)) if groups is None else groups)
    weights = weights_of(groups)
    rows, full = np.arange(len(quality)), quality.shape[1] - 1
    chosen = choose(predicted, saved, allowances)
    losses = (keep * quality[:, full:] - quality[rows[:, None], chosen] + 1) / (1 + keep)
    losses = means_by(losses, groups)
    losses = losses[np.random.default_rng(seed).permutation(len(losses))]
    delta = (1 - confidence) * FOR_THE_MEAN
    p_values = betting_p_values(losses, 1 / (1 + keep), delta)
    failed = np.flatnonzero(p_values > delta)
    last = (int(failed[0]) if len(failed) else len(allowances)) - 1
    dearest = cost[:, -1] if full_cost is None else full_cost
    kept, cheaper = 1.0, 0.0
    if last >= 0:
        kept, cheaper = kept_and_saved(chosen[:, last], quality, cost, dearest, weights)
    if cheaper <= 0:
        spent = (weights[:, None] * cost[rows[:, None], chosen]).sum(0)
        saving = spent < (weights * dearest).sum()
        needed = prompts_needed(losses[:, saving], 1 / (1 + keep), delta) if saving.any() else None
        return Promise(None, keep, confidence, len(losses), None, 1.0, 0.0, needed)
    p_value = float(p_values[last])
    return Promise(float(allowances[last]), keep, confidence, len(losses), p_value, kept, cheaper)


def kept_and_saved(
    chosen: Ints,
    quality: Floats,
    cost: Floats,
    full_cost: Floats,
    weights: Floats | None = None,
) -> tuple[float, float]:
    """Return the shares of the full model's quality kept and of its cost saved by a choice [n].

    weights: of the prompts [n]; `weights_of` makes copies of a prompt count as one.
    """
    rows = np.arange(len(chosen))
    weights = np.ones(len(chosen)) if weights is None else weights

    def total(values: Floats) -> float:
        return float((weights * values).sum())

    best, dearest = total(quality[:, -1]), total(full_cost)
    kept = total(quality[rows, chosen]) / best if best > 0 else 1.0
    saved = 1 - total(cost[rows, chosen]) / dearest if dearest > 0 else 0.0
    return kept, saved


def numbered(groups: Ints) -> Ints:
    """Return groups numbered from 0 in the order in which they come [n]."""
    known: dict[int, int] = {}
    return np.array([known.setdefault(g, len(known)) for g in groups.tolist()], np.int64)


def weights_of(groups: Ints) -> Floats:
    """Return weights that make every group count once, shared evenly by its members [n]."""
    _, mine, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights: Floats = 1.0 / counts[mine]
    return weights


def means_by(values: Floats, groups: Ints) -> Floats:
    """Return the mean of the values [n, G] over each group, numbered from 0: [groups, G]."""
    counts = np.bincount(groups)
    if len(counts) == len(values):
        return values
    order = np.argsort(groups, kind="stable")
    starts = np.cumsum(counts) - counts
    means: Floats = np.add.reduceat(values[order], starts, axis=0) / counts[:, None]
    return means
