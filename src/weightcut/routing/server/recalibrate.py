"""A new threshold from the shadow sample, proposed as a diff of the router's file."""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Record, digest
from weightcut.routing.calibrate import Promise, calibrate, grid
from weightcut.routing.files import FACTS
from weightcut.routing.policy import Floats
from weightcut.routing.router import Router, load_router
from weightcut.routing.server.shadow import PAIRS

_LEAST = 50
"""Judged pairs without which nothing is proposed."""


class Proposal(Record):
    """What is proposed, and why. diff: for `patch`, empty where nothing would change.

    unjudged: pairs without code to judge. others: pairs that another router has scored.
    """

    allowance: float | None
    before: float | None
    thresholds: dict[str, float | None]
    pairs: int
    unjudged: int
    others: int
    says: str
    diff: str


def propose(
    folder: Path,
    pairs: Path,
    *,
    keep: float | None = None,
    confidence: float | None = None,
    seed: int = 0,
) -> Proposal:
    """Return the proposal; the router stays as it is.

    keep, confidence: default to those of the router's own promise. The pairs are prompts as they
    came, so the promise then holds for prompts like these. UsageError: too few judged pairs.
    """
    router = load_router(folder)
    if router.cascades:
        raise UsageError(
            "the threshold of a cascade judges answers, which the shadow sample does not keep",
            place=str(folder),
            cure="fit it anew on fresh outcomes",
        )
    keep = float(router.promise.get("keep", 0.95)) if keep is None else keep
    confidence = float(router.promise.get("confidence", 0.95)) if confidence is None else confidence
    scores, quality, cost, unjudged, others = _read(pairs, router)
    if len(quality) < _LEAST:
        besides = f" ({others} are of another router)" if others else ""
        raise UsageError(
            f"{len(quality)} judged pairs are too few to calibrate on; {_LEAST} are needed"
            + besides,
            place=str(pairs),
            cure="let the server run longer, or with a larger drift.shadow_share",
        )
    predicted = 2 * (scores - 0.5)
    costs = np.array(router.costs)
    saved = 1 - costs / costs[-1] if costs[-1] > 0 else np.zeros(len(costs))
    # The scores come from the policy alone, so that a grid from them knows no outcome. They are
    # rounded: a little below each tie it makes no difference.
    allowances = grid(predicted, saved) - 1e-9
    promise = calibrate(predicted, quality, cost, saved, allowances, keep, confidence, seed)
    changed = router.with_allowance(promise.allowance, {})
    return Proposal(
        allowance=promise.allowance,
        before=router.allowance,
        thresholds={n: t if math.isfinite(t) else None for n, t in changed.thresholds.items()},
        pairs=len(quality),
        unjudged=unjudged,
        others=others,
        says=promise.says,
        diff=_diff(folder / FACTS, promise),
    )


def _diff(path: Path, promise: Promise) -> str:
    before = path.read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(before)
    head = {name: data.pop(name) for name in ("format", "version", "digest")}
    told = {**asdict(promise), "says": promise.says, "from": "the shadow sample"}
    data["allowance"] = promise.allowance
    data["promise"] = {**data["promise"], **told}
    head["digest"] = digest(data)
    after = json.dumps({**head, **data}, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{path.name}",
        f"b/{path.name}",
    )
    return "".join(lines)


def _read(path: Path, router: Router) -> tuple[Floats, Floats, Floats, int, int]:
    """Return scores, quality and cost [n, V] of the judged pairs of this router.

    Beside them, how many were not judged, and how many are of another router.
    """
    file = path / PAIRS if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot be read ({error})", place=str(file), cure="name the server's drift.folder"
        ) from error
    found: dict[str, list[list[float]]] = {"scores": [], "quality": [], "cost": []}
    unjudged, others = 0, 0
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            named, judged = set(row["scores"]), row["quality"] is not None
            if row.get("router") != router.digest or named != set(router.variants):
                others += 1
                continue
            if not judged:
                unjudged += 1
                continue
            values = {key: [float(row[key][name]) for name in router.variants] for key in found}
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenInput(f"no row of pairs ({error!r})", place=f"{file}:{number}") from None
        if not all(math.isfinite(v) for one in values.values() for v in one):
            raise BrokenInput("a number that is not finite", place=f"{file}:{number}")
        for key, one in values.items():
            found[key].append(one)
    shape = (-1, len(router.variants))
    scores, quality, cost = (np.array(found[key], np.float64).reshape(shape) for key in found)
    return scores, quality, cost, unjudged, others
