"""What routing would have brought: policies and references on repeated splits of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weightcut.errors import UsageError
from weightcut.routing import curves
from weightcut.routing.calibrate import choose, kept_and_saved, weights_of
from weightcut.routing.cascade import first_signals
from weightcut.routing.curves import Curve
from weightcut.routing.embedding import Embedding
from weightcut.routing.encoder import Corpus
from weightcut.routing.fit import (
    LEAST,
    Foresight,
    Ints,
    check_promise,
    check_rows,
    foresee,
    parts,
    promise_of,
    saved_shares,
    shares_of,
    training_rows,
)
from weightcut.routing.policy import Floats, Training, check_policy, fit_policy
from weightcut.routing.table import SIGNALS, Table

DEFAULT_POLICIES = ("blend", "boosted", "forest", "knn", "linear", "rules", "length")
BASELINES = ("knn", "length")
"""What every other policy has to beat, and is shown beside."""
REFERENCES = ("random", "oracle", "always-cheapest", "always-full")
PERCENTS = (50, 80, 95)
_LEAST_LEARNT = LEAST // 2
"""Different prompts without which a split has too little to learn from and to calibrate on."""


def default_policies(table: Table) -> tuple[str, ...]:
    """Return the policies that the table allows: a cascade needs signals of the answers."""
    if first_signals(table.signals) is None:
        return DEFAULT_POLICIES
    return (*DEFAULT_POLICIES, "cascade")


@dataclass(frozen=True)
class Settings:
    """How to evaluate. train: prompts to learn from, a count or a share below 1."""

    train: float = 0.8
    splits: int = 5
    seed: int = 0
    keep: float = 0.95
    confidence: float = 0.95
    embedding: Embedding | None = None


@dataclass
class Readings:
    """What one policy did on every split: figure -> values, and its curves."""

    figures: dict[str, list[float | None]] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)

    def add(self, found: Curve, keep: float) -> None:
        """Note a curve and what is read off it."""
        self.curves.append(found)
        self.note("apgr", curves.apgr(found))
        for percent in PERCENTS:
            self.note(f"cpt {percent}", curves.cpt(found, percent))
        self.note("aiq", curves.aiq(found))
        self.note("saved", curves.saved_at(found, keep))

    def note(self, name: str, value: float | None) -> None:
        """Note one figure of one split."""
        self.figures.setdefault(name, []).append(value)


def evaluate(
    table: Table,
    settings: Settings,
    policies: Sequence[str] = DEFAULT_POLICIES,
    progress: Callable[[str, float], None] = lambda _phrase, _share: None,
) -> dict[str, Any]:
    """Return every policy's figures over repeated splits, beside the references (docs/routing.md).

    Each split learns from some prompts and tests on all others; the calibrated promise is tested
    the same way, its threshold set without the test prompts.
    """
    check_promise(settings.keep, settings.confidence)
    for name in policies:
        check_policy(name)
    groups = table.groups()
    check_rows(groups, table.warnings)
    count = training_count(settings.train, len(table))
    splits = [parts(groups, count, settings.seed * 1_000 + n) for n in range(settings.splits)]
    for train, test in splits:
        _check_split(groups, train, test)
    corpus = Corpus.of(table.prompts, settings.embedding)
    readings: dict[str, Readings] = {name: Readings() for name in (*policies, *REFERENCES)}
    tested = 0
    for split, (train, test) in enumerate(splits):
        tested = len(test)

        def say(phrase: str, done: float, split: int = split) -> None:
            share = (split + done) / settings.splits
            progress(f"split {split + 1}/{settings.splits}: {phrase}", share)

        _Split(table, corpus, groups, train, test, settings, split).run(policies, readings, say)
    return _summary(table, settings, policies, readings, count, tested)


def _check_split(groups: Ints, train: Ints, test: Ints) -> None:
    """Raise where a part has nothing, as where one text fills most of the rows."""
    if not len(test):
        raise UsageError("no prompt is left for the test", place="--train", cure="train on less")
    different = len(np.unique(groups[train]))
    if different < _LEAST_LEARNT:
        most = int(np.bincount(groups).max())
        raise UsageError(
            f"only {different} different prompts fall into the part to learn from and to "
            f"calibrate on: one text fills {most} of the {len(groups)} rows",
            place="--train",
            cure="keep one row of each prompt and variant, or measure more different prompts",
        )


@dataclass(frozen=True)
class _Split:
    table: Table
    corpus: Corpus
    groups: Ints
    train: Ints
    test: Ints
    settings: Settings
    number: int

    def run(
        self,
        policies: Sequence[str],
        readings: dict[str, Readings],
        say: Callable[[str, float], None],
    ) -> None:
        settings, seed = self.settings, self.settings.seed * 1_000 + self.number
        table, test = self.table.take(self.test), self.corpus.take(self.test)
        saved = saved_shares(self.table.cost[self.train].mean(0))
        learn, check = parts(self.groups[self.train], training_rows(len(self.train)), seed)
        whole, shorter = (self._training(r, seed) for r in (self.train, self.train[learn]))
        held_out = self.train[check]
        for n, name in enumerate(policies):
            say(f"fitting {name}", n / len(policies))
            fitted = fit_policy(name, whole)
            seen = foresee(fitted, test, table)
            readings[name].add(_curve(seen, shares_of(fitted, saved), seed), settings.keep)
            say(f"calibrating {name}", (n + 0.5) / len(policies))
            fitted = fit_policy(name, shorter)
            promise = promise_of(
                fitted,
                foresee(fitted, shorter.corpus, self.table.take(self.train[learn])),
                foresee(fitted, self.corpus.take(held_out), self.table.take(held_out)),
                saved,
                (settings.keep, settings.confidence, seed),
                self.groups[held_out],
            )
            seen = foresee(fitted, test, table)
            weights, shares = weights_of(self.groups[self.test]), shares_of(fitted, saved)
            _note_promise(readings[name], promise.allowance, seen, shares, weights, settings.keep)
        quality, cost = table.quality, table.cost
        random = np.random.default_rng(seed).random(quality.shape)
        for name, predicted in (("random", random), ("oracle", quality)):
            seen = Foresight(predicted, quality, cost, cost[:, -1])
            readings[name].add(_curve(seen, saved, seed), settings.keep)
        for name, variant in (("always-cheapest", 0), ("always-full", -1)):
            _note_constant(readings[name], quality, cost, variant, settings.keep)

    def _training(self, rows: Ints, seed: int) -> Training:
        table = self.table.take(rows)
        return Training(self.corpus.take(rows), table.quality, seed, table.signals)


def _curve(seen: Foresight, shares: Floats, seed: int) -> Curve:
    return curves.curve(
        seen.predicted, seen.quality, seen.cost, shares, float(seen.full_cost.mean()), seed
    )


def _note_promise(
    readings: Readings,
    allowance: float | None,
    seen: Foresight,
    shares: Floats,
    weights: Floats,
    keep: float,
) -> None:
    kept, cheaper = 1.0, 0.0
    if allowance is not None:
        chosen = choose(seen.predicted, shares, np.array([allowance]))[:, 0]
        kept, cheaper = kept_and_saved(chosen, seen.quality, seen.cost, seen.full_cost, weights)
    readings.note("promise given", float(allowance is not None))
    readings.note("promise kept", kept)
    readings.note("promise saved", cheaper)
    readings.note("promise held", float(kept >= keep - 1e-12))


def _note_constant(
    readings: Readings, quality: Floats, cost: Floats, variant: int, keep: float
) -> None:
    """Note what answering everything with one variant brings: it recovers no gap on any budget."""
    mean, price, full = quality[:, variant].mean(), cost[:, variant].mean(), cost[:, -1].mean()
    readings.note("apgr", 0.0 if quality[:, -1].mean() > quality[:, 0].mean() else None)
    for percent in PERCENTS:
        readings.note(f"cpt {percent}", 1.0)
    readings.note("aiq", float(mean))
    good = mean >= keep * quality[:, -1].mean() - 1e-12
    readings.note("saved", float(1 - price / full) if good and full > 0 else 0.0)


def training_count(train: float, rows: int) -> int:
    """Return how many prompts to train on, from a count or a share."""
    wrong = train <= 0 or not math.isfinite(train) or (train >= 1 and train != int(train))
    count = 0 if wrong else round(train * rows) if train < 1 else int(train)
    if wrong or not LEAST <= count < rows:
        raise UsageError(
            f"cannot train on {train:g} of {rows} prompts",
            place="--train",
            cure=f"give a share such as 0.8, or a count from {LEAST} to {rows - 1}",
        )
    return count


def interval(values: Sequence[float | None], ratio: float) -> dict[str, float | None]:
    """Return the mean over splits and its 95% interval.

    Splits share prompts, so that their spread understates the error: the corrected resampled t of
    Nadeau and Bengio 2003 widens it by the ratio of test to training prompts (at most 1: it is
    meant for tests smaller than the training part). None where undefined.
    """
    from scipy.stats import t

    there = np.array([value for value in values if value is not None])
    if len(there) < len(values) or not len(there):
        return {"value": None, "low": None, "high": None}
    mean = float(there.mean())
    if len(there) < 2:
        return {"value": mean, "low": None, "high": None}
    error = math.sqrt((1 / len(there) + ratio) * float(there.var(ddof=1)))
    half = float(t.ppf(0.975, len(there) - 1)) * error
    return {"value": mean, "low": mean - half, "high": mean + half}


def _summary(
    table: Table,
    settings: Settings,
    policies: Sequence[str],
    readings: dict[str, Readings],
    trained: int,
    tested: int,
) -> dict[str, Any]:
    ratio = min(1.0, tested / trained)
    found: dict[str, Any] = {}
    for name, r in readings.items():
        spans = {key: interval(values, ratio) for key, values in r.figures.items()}
        found[name] = {
            "apgr": spans["apgr"],
            "cpt": {str(p): spans[f"cpt {p}"]["value"] for p in PERCENTS},
            "aiq": spans["aiq"]["value"],
            "cost_saved_at_kept_quality": spans["saved"]["value"],
            "intervals": {
                "aiq": spans["aiq"],
                "cost_saved_at_kept_quality": spans["saved"],
                **{f"cpt_{p}": spans[f"cpt {p}"] for p in PERCENTS},
            },
            "reference": name in REFERENCES,
        }
        if "promise kept" in spans:
            found[name]["promise"] = {
                "given": spans["promise given"]["value"],
                "held": spans["promise held"]["value"],
                "quality_kept": spans["promise kept"],
                "cost_saved": spans["promise saved"],
            }
        if r.curves:
            found[name]["curve"] = {
                "budget": [round(float(x), 4) for x in r.curves[0].budget],
                "quality": _mean_of([c.quality for c in r.curves]),
                "cost": _mean_of([c.cost for c in r.curves]),
            }
    result: dict[str, Any] = {
        "policies": found,
        "n": len(table),
        "variants": list(table.variants),
        "costs": dict(zip(table.variants, map(float, table.costs), strict=True)),
        "qualities": dict(zip(table.variants, map(float, table.quality.mean(0)), strict=True)),
        "train": trained,
        "test": tested,
        "splits": settings.splits,
        "keep": settings.keep,
        "confidence": settings.confidence,
        "seed": settings.seed,
        "warnings": [*table.warnings, *_left_out(table, policies)],
    }
    result["says"] = in_words(result, policies)
    return result


def _left_out(table: Table, policies: Sequence[str]) -> list[str]:
    if "cascade" in policies or first_signals(table.signals) is not None:
        return []
    names = ", ".join(SIGNALS)
    return [f"cascade was left out: the table has no signals of the answers ({names})"]


def _mean_of(rows: Sequence[Floats]) -> list[float]:
    return [round(float(value), 6) for value in np.mean(rows, axis=0)]


def in_words(result: dict[str, Any], policies: Sequence[str]) -> list[str]:
    """Return whether routing pays, and why not where it does not."""
    each = [
        {"name": name, "cost": result["costs"][name], "quality": result["qualities"][name]}
        for name in result["variants"]
    ]
    cheapest, full = each[0], each[-1]
    keep, found = result["keep"], result["policies"]
    if full["cost"] <= cheapest["cost"]:
        return ["Routing does not pay: all variants cost the same."]
    better = [one for one in each[:-1] if one["quality"] >= full["quality"]]
    if cheapest in better:
        return [
            f"Routing does not pay: {cheapest['name']} is cheaper than {full['name']} and not "
            "worse on average. Use it for everything."
        ]
    lines = [
        f"{one['name']} is cheaper than {full['name']} and not worse on average: measure against "
        f"it (--full {one['name']})."
        for one in better[:1]
    ]
    known = [p for p in policies if found[p]["apgr"]["value"] is not None]
    if not known:
        small = "On some split the full model was not better: the gap is too small to measure."
        return [*lines, small]
    best = max(known, key=lambda p: float(found[p]["apgr"]["value"]))
    score = found[best]["apgr"]
    lines.append(
        f"Best policy: {best}, APGR {_span(score)} (random routing: 0.5, oracle: "
        f"{_plain(found['oracle']['apgr']['value'])})."
    )
    if score["low"] is not None and score["low"] <= 0.5:
        lines.append("Its lead over random routing is not established: the interval reaches 0.5.")
    if cheapest["quality"] >= keep * full["quality"]:
        lines.append(
            f"{cheapest['name']} alone keeps {cheapest['quality'] / full['quality']:.1%} of the "
            "quality, as much as asked for: routing has little to add to using it for everything."
        )
    saver = max(policies, key=lambda p: float(found[p]["promise"]["cost_saved"]["value"]))
    promised = found[saver]["promise"]
    gain, low, high = (promised["cost_saved"][key] for key in ("value", "low", "high"))
    if gain < 0.01:
        lines.append(
            f"Routing does not pay: at {keep:.0%} kept quality no calibrated policy saves more "
            f"than {max(gain, 0):.1%} of the cost. More prompts may let it promise more."
        )
        return lines
    span = "" if low is None else f" [{low:.1%}, {high:.1%}]"
    told = (
        f"the calibrated {saver} keeps {promised['quality_kept']['value']:.1%} of the quality and "
        f"saves {gain:.1%}{span} of the cost; the promise to keep {keep:.0%} held on "
        f"{promised['held']:.0%} of the splits."
    )
    if low is None:
        lines.append(f"Whether routing pays is not established by one split: {told}")
    elif low <= 0:
        lines.append(f"Whether routing pays is not established, the interval reaches 0: {told}")
    else:
        lines.append(f"Routing pays: {told}")
    return lines


def _span(found: dict[str, float | None]) -> str:
    if found["low"] is None:
        return _plain(found["value"])
    return f"{_plain(found['value'])} [{_plain(found['low'])}, {_plain(found['high'])}]"


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
