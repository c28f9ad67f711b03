"""The guards: one-sided tests that can only veto, corrected over the variants of a study.

Guards are there because a similarity score alone may rate a broken model above the original.
pass@1 and degenerate answers: exact McNemar on samples (a test by random sign flips of the
samples' means where a sample has several answers). KL: Student's t over windows that the mean
divergence per token exceeds the limit. Holm's correction runs over the variants, guard by guard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weightcut.analysis.frames import Scores, shared, stacked
from weightcut.analysis.statistics import Floats, holm, mcnemar_worse, mean_above, sign_flip_worse
from weightcut.records.results import Guard

PASS, DEGENERATE, KL = "pass@1", "degenerate", "kl"
_COLUMN = {PASS: "passed", DEGENERATE: "degenerate", KL: "kl"}
_BETTER = {PASS: 1.0, DEGENERATE: -1.0}


@dataclass(frozen=True)
class _Test:
    name: str
    p_value: float | None
    says: str


def run_guards(
    baseline: Mapping[str, Scores],
    variants: Mapping[str, Mapping[str, Scores]],
    kl_limit: float,
    confidence: float,
    seed: int,
) -> dict[str, list[Guard]]:
    """Return every variant's guards; variant -> task -> scores in, the baseline not among them.

    A guard belongs to the study where the baseline has its metric (KL: where it was given windows);
    a variant that lacks it gets a guard without a p-value.
    """
    planned = _planned(baseline)
    several = {kind: sum(k == kind for k, _ in planned) > 1 for kind, _ in planned}
    found: dict[str, list[Guard]] = {name: [] for name in variants}
    for kind, task in planned:
        name = f"{kind} ({task})" if several[kind] else kind
        tests = [
            _test(name, kind, baseline[task], tasks.get(task), kl_limit, seed)
            for tasks in variants.values()
        ]
        corrected = holm([test.p_value for test in tests])
        count = sum(test.p_value is not None for test in tests)
        for variant, test, p_holm in zip(variants, tests, corrected, strict=True):
            found[variant].append(_guard(test, p_holm, count, 1 - confidence))
    return found


def _planned(baseline: Mapping[str, Scores]) -> Sequence[tuple[str, str]]:
    planned: list[tuple[str, str]] = []
    for kind in (PASS, DEGENERATE, KL):
        for task, scores in baseline.items():
            if scores.likelihood if kind == KL else _COLUMN[kind] in scores.by_sample:
                planned.append((kind, task))
    return planned


def _guard(test: _Test, p_holm: float | None, tests: int, alpha: float) -> Guard:
    worse = p_holm is not None and p_holm < alpha
    says = test.says
    if p_holm is not None:
        says += f"; p {_p(p_holm)}"
        says += f" after Holm's correction over {tests} variants" if tests > 1 else ""
    return Guard(name=test.name, p_value=test.p_value, p_holm=p_holm, worse=worse, says=says)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"


def _test(
    name: str, kind: str, baseline: Scores, variant: Scores | None, kl_limit: float, seed: int
) -> _Test:
    column = _COLUMN[kind]
    if variant is None or column not in variant.by_sample:
        return _Test(name, None, "not measured")
    if kind == KL:
        return _kl_test(name, variant, kl_limit)
    b, v = shared(baseline.column(column), variant.column(column))
    if len(b) == 0:
        return _Test(name, None, "no sample was measured on both")
    loss = _BETTER[kind] * (b - v)
    lost, gained = int(np.count_nonzero(loss > 0)), int(np.count_nonzero(loss < 0))
    single = baseline.single(column) and variant.single(column)
    p_value = mcnemar_worse(lost, gained) if single else sign_flip_worse(loss, seed)
    return _Test(name, p_value, _says(kind, b, v, lost, gained, single=single))


def _says(kind: str, b: Floats, v: Floats, lost: int, gained: int, *, single: bool) -> str:
    n = len(b)
    if not single:
        what = "pass rate" if kind == PASS else "share of degenerate answers"
        return f"{what} {v.mean():.1%} against {b.mean():.1%} over {n} samples"
    counts = f"{round(v.sum())} of {n} against the baseline's {round(b.sum())}"
    if kind == PASS:
        return f"passes {counts} ({lost} lost, {gained} gained)"
    return f"degenerate answers (repetition or token limit) {counts} ({lost} more, {gained} fewer)"


def _kl_test(name: str, variant: Scores, limit: float) -> _Test:
    kl, tokens = stacked(variant, "kl", "tokens")
    if tokens.sum() <= 0:
        return _Test(name, None, "not measured")
    p_value = mean_above(kl, tokens, limit)
    says = f"{kl.sum() / tokens.sum():.3g} nats per token from the baseline, limit {limit:g}"
    return _Test(name, p_value, says if p_value is not None else f"{says}; one window is too few")
