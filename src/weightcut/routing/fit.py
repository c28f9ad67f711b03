"""From an outcome table to a calibrated router."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from weightcut.errors import UsageError
from weightcut.routing.calibrate import Promise, calibrate, grid
from weightcut.routing.cascade import Cascade, first_signals
from weightcut.routing.embedding import Embedding
from weightcut.routing.encoder import Corpus
from weightcut.routing.policy import Floats, Policy, Training, check_policy, fit_policy
from weightcut.routing.router import Router
from weightcut.routing.table import SIGNALS, Table

LEAST = 20
"""Prompts; with fewer there is nothing to learn from and to calibrate on."""
CALIBRATION = 1_000
SAME_COST = "All variants cost the same: there is nothing to save, everything goes to the last."
DEFAULT = "blend"

Ints = npt.NDArray[np.int64]


def fit_router(
    table: Table,
    policy: str = DEFAULT,
    keep: float = 0.95,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _phrase: None,
    embedding: Embedding | None = None,
) -> Router:
    """Fit a policy on one part of the table and calibrate its threshold on the other.

    keep: share of the full model's mean quality to keep. confidence: of the promise that it is.
    embedding: a local model whose view of the prompt becomes a feature (slow; none by default).
    """
    check_promise(keep, confidence)
    check_policy(policy)
    groups = table.groups()
    check_rows(groups, table.warnings)
    learn, check = parts(groups, training_rows(len(table)), seed)
    train, held_out = table.take(learn), table.take(check)
    progress(f"reading {len(train)} training prompts")
    training = Training(Corpus.of(train.prompts, embedding), train.quality, seed, train.signals)
    progress(f"fitting {policy}")
    fitted = fit_policy(policy, training)
    saved = saved_shares(table.costs)
    progress(f"calibrating on {len(held_out)} prompts")
    promise = promise_of(
        fitted,
        foresee(fitted, training.corpus, train),
        foresee(fitted, Corpus.of(held_out.prompts, embedding), held_out),
        saved,
        (keep, confidence, seed),
        groups[check],
    )
    return Router(
        variants=table.variants,
        costs=tuple(map(float, table.costs)),
        qualities=tuple(map(float, table.quality.mean(0))),
        policy=fitted,
        allowance=promise.allowance,
        promise={**asdict(promise), "says": promise.says if saved.max() > 0 else SAME_COST},
        trained={"prompts": len(train), "seed": seed, "warnings": list(table.warnings)},
    )


class Foresight(NamedTuple):
    """What a policy expects of prompts, and what came of each choice that it has.

    predicted, quality, cost: [n, choices]. full_cost: of always using the full model [n].
    """

    predicted: Floats
    quality: Floats
    cost: Floats
    full_cost: Floats


def foresee(policy: Policy, corpus: Corpus, table: Table) -> Foresight:
    """Return a policy's expectations for the prompts of a table.

    The choices are the variants. A cascade has two: to keep the cheapest variant's answer, or to
    ask the full model as well, at the cost of both.
    """
    predicted = policy.predict_many(corpus)
    full_cost = table.cost[:, -1]
    if not isinstance(policy, Cascade):
        return Foresight(predicted, table.quality, table.cost, full_cost)
    signals = first_signals(table.signals)
    if signals is None:
        signals = np.full((len(predicted), len(SIGNALS)), np.nan)
    both = np.column_stack([policy.judge(predicted, signals), predicted[:, -1]])
    cost = np.column_stack([table.cost[:, 0], table.cost[:, 0] + full_cost])
    return Foresight(both, table.quality[:, [0, -1]], cost, full_cost)


def shares_of(policy: Policy, saved: Floats) -> Floats:
    """Return the saving of each choice that a policy has; an answer that is kept saves the rest."""
    return np.array([1.0, 0.0]) if isinstance(policy, Cascade) else saved


def promise_of(
    policy: Policy,
    learnt: Foresight,
    held_out: Foresight,
    saved: Floats,
    terms: tuple[float, float, int],
    groups: Ints,
) -> Promise:
    """Return what the policy can promise; terms: share to keep, confidence, seed.

    learnt: of the training prompts, for the thresholds to try. held_out: of calibration prompts;
    groups: which of them are copies of one prompt, as `Table.groups`.
    """
    keep, confidence, seed = terms
    shares = shares_of(policy, saved)
    return calibrate(
        held_out.predicted,
        held_out.quality,
        held_out.cost,
        shares,
        grid(learnt.predicted, shares),
        keep,
        confidence,
        seed,
        held_out.full_cost,
        groups,
    )


def saved_shares(costs: Floats) -> Floats:
    """Return the share of the dearest variant's mean cost that each saves: [V], the last 0."""
    shares: Floats = 1 - costs / costs[-1] if costs[-1] > 0 else np.zeros(len(costs))
    return shares


def training_rows(rows: int) -> int:
    """Return how many of the rows are for learning; the rest is for calibration.

    A fifth calibrates, but at least 1,000 where that is at most half: a promise needs many.
    """
    return rows - max(rows // 5, min(CALIBRATION, rows // 2))


def parts(groups: Ints, first: int, seed: int) -> tuple[Ints, Ints]:
    """Return the rows of two random parts; prompts of one group are never on both sides.

    The first part has `first` rows, or a few less where a group would not fit whole (more
    only where the first group is larger).
    """
    place = np.random.default_rng(seed).permutation(int(groups.max(initial=-1)) + 1)
    order = np.argsort(place[groups], kind="stable")
    cut = min(first, len(order))
    while 0 < cut < len(order) and groups[order[cut - 1]] == groups[order[cut]]:
        cut -= 1
    if cut == 0 and len(order):
        cut = int((groups == groups[order[0]]).sum())
    return order[:cut], order[cut:]


def check_rows(groups: Ints, warnings: Sequence[str] = ()) -> None:
    """Raise where there are too few different prompts; groups, warnings: of the table."""
    different = len(np.unique(groups))
    if different < LEAST:
        few = f"{different} different prompts are too few to learn from and to calibrate on"
        raise UsageError(
            "; ".join([few, *warnings]),
            cure=f"measure at least {LEAST} prompts on every variant (hundreds promise more), or "
            "leave a variant out (--only)",
        )


def check_promise(keep: float, confidence: float) -> None:
    """Raise where the promise asked for has no meaning."""
    if not 0 < keep <= 1:
        raise UsageError(f"{keep:g} is not a share above 0 and up to 1", place="--keep")
    if not 0 < confidence < 1:
        raise UsageError(f"{confidence:g} is not between 0 and 1", place="--confidence")
