"""The verdict on a variant's quality: one primary metric at a margin, guards that can only veto.

*lost*: the primary's whole interval lies below the margin, or a guard is significantly worse.
*retained*: its whole interval lies above the margin, every guard of the study was tested and none
is worse. *undecided* otherwise, with the number of further samples that would decide.
*unmeasured*: nothing to judge. The interval is two-sided, so at a confidence of 95% a variant that
sits exactly on the margin is called retained in about 2.5% of studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weightcut.analysis.frames import Scores
from weightcut.analysis.names import metric_name
from weightcut.analysis.quality import has_metric
from weightcut.analysis.statistics import Ratio, samples_to_decide
from weightcut.records import Keep
from weightcut.records.results import Guard, Verdict

MIN_SAMPLES = 10
"""Below so many samples no resampled interval keeps its promise, and nothing is decided by it."""

SAMPLE_CAP = 100_000
"""More samples than this are not named as a cure."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, its reasons in words, and how many more samples would decide (undecided only)."""

    verdict: Verdict
    reasons: tuple[str, ...]
    further_samples: int | None = None


def primary_task(keep: Keep, tasks: Sequence[str], baseline: Mapping[str, Scores]) -> str | None:
    """Return the task that the primary metric is of, None where the baseline lacks it."""
    candidates = [keep.task] if keep.task else [t for t in tasks if t in baseline]
    for task in candidates:
        if task in baseline and has_metric(baseline[task], keep.metric):
            return task
    return None


def judge(keep: Keep, primary: Ratio | None, guards: Sequence[Guard], missing: str) -> Judgement:
    """Return the verdict on one variant.

    primary: retention of the primary metric, None where it was not measured; `missing` then says
    why.
    """
    vetoes = [f"{guard.name}: significantly worse, {guard.says}" for guard in guards if guard.worse]
    if primary is None or primary.value is None:
        unlike = f"{metric_name(keep.metric)} cannot be compared"
        why = missing if primary is None else f"{unlike}: {primary.reason}"
        if vetoes:
            return Judgement("lost", (*vetoes, why))
        return Judgement("unmeasured", (why,))
    side = _side(primary, keep.share)
    figures = _figures(keep, primary)
    if vetoes or side == "below":
        tail = [f"{figures}, all of it below the margin of {percent(keep.share)}"]
        return Judgement("lost", (*vetoes, *(tail if side == "below" else [figures])))
    untested = [guard for guard in guards if guard.p_value is None]
    if side == "above" and not untested:
        passed = f"no guard is worse ({', '.join(g.name for g in guards)})" if guards else ""
        above = f"{figures}, all of it above the margin of {percent(keep.share)}"
        return Judgement("retained", tuple(filter(None, (above, passed))))
    return _undecided(keep, primary, side, figures, untested)


def _side(primary: Ratio, margin: float) -> str:
    if primary.n < MIN_SAMPLES:
        return "across"
    if primary.low is not None and primary.low > margin:
        return "above"
    if primary.high is not None and primary.high < margin:
        return "below"
    return "across"


def _undecided(
    keep: Keep, primary: Ratio, side: str, figures: str, untested: Sequence[Guard]
) -> Judgement:
    reasons = [f"guard {guard.name} could not be tested: {guard.says}" for guard in untested]
    if side == "above":
        above = f"{figures}, all of it above the margin of {percent(keep.share)}"
        return Judgement("undecided", (above, *reasons))
    if primary.n < MIN_SAMPLES:
        few = f"{figures}: fewer than {MIN_SAMPLES} samples decide nothing"
        return Judgement("undecided", (few, *reasons), _further(keep, primary))
    further = _further(keep, primary)
    across = f"{figures}, which the margin of {percent(keep.share)} lies within"
    cure = (
        f"about {further} more samples would decide, if the estimate stays where it is"
        if further is not None
        else "the estimate is so near the margin that no realistic number of samples would decide"
    )
    return Judgement("undecided", (across, cure, *reasons), further)


def _further(keep: Keep, primary: Ratio) -> int | None:
    total = samples_to_decide(primary, keep.share, keep.confidence, SAMPLE_CAP)
    if total is None:
        return None
    return max(total, MIN_SAMPLES, primary.n + 1) - primary.n


def percent(share: float) -> str:
    """Return a setting of the study in percent with as many digits as it has: 97.5%."""
    return f"{100 * share:.6g}%"


def _figures(keep: Keep, primary: Ratio) -> str:
    low = "unbounded" if primary.low is None else f"{primary.low:.1%}"
    high = "unbounded" if primary.high is None else f"{primary.high:.1%}"
    return (
        f"keeps {primary.value:.1%} of the baseline's {metric_name(keep.metric)}, "
        f"{percent(keep.confidence)} interval {low} to {high} over {primary.n} samples"
    )
