"""What a router could promise at every share of quality to keep: a threshold each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightcut.routing.calibrate import Promise, choose
from weightcut.routing.encoder import Corpus
from weightcut.routing.fit import (
    check_promise,
    check_rows,
    foresee,
    parts,
    promise_of,
    saved_shares,
    shares_of,
    training_rows,
)
from weightcut.routing.policy import Training, check_policy, fit_policy
from weightcut.routing.router import Router
from weightcut.routing.table import Table

KEEPS = tuple(round(0.50 + 0.01 * step, 2) for step in range(50))


@dataclass(frozen=True)
class Offer:
    """A promise, and the share of calibration prompts that the lighter variants would answer."""

    promise: Promise
    lighter: float


@dataclass(frozen=True)
class Offers:
    """The promises by rising share to keep, and the router that they are of, unset."""

    router: Router
    offers: tuple[Offer, ...]


def offers(
    table: Table,
    policy: str,
    confidence: float = 0.95,
    seed: int = 0,
    keeps: Sequence[float] = KEEPS,
) -> Offers:
    """Fit a policy as `fit_router` does, and return what it can promise for each share to keep."""
    check_policy(policy)
    check_promise(keeps[0], confidence)
    groups = table.groups()
    check_rows(groups, table.warnings)
    learn, check = parts(groups, training_rows(len(table)), seed)
    train, held_out = table.take(learn), table.take(check)
    training = Training(Corpus.of(train.prompts), train.quality, seed, train.signals)
    fitted = fit_policy(policy, training)
    saved = saved_shares(table.costs)
    learnt = foresee(fitted, training.corpus, train)
    seen = foresee(fitted, Corpus.of(held_out.prompts), held_out)
    shares = shares_of(fitted, saved)
    found = []
    for keep in keeps:
        terms = (keep, confidence, seed)
        promise = promise_of(fitted, learnt, seen, saved, terms, groups[check])
        lighter = 0.0
        if promise.allowance is not None:
            chosen = choose(seen.predicted, shares, np.array([promise.allowance]))[:, 0]
            lighter = float((chosen < seen.predicted.shape[1] - 1).mean())
        found.append(Offer(promise, lighter))
    router = Router(
        variants=table.variants,
        costs=tuple(map(float, table.costs)),
        qualities=tuple(map(float, table.quality.mean(0))),
        policy=fitted,
    )
    return Offers(router, tuple(found))
