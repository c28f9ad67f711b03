"""Which variant to deploy, and a paragraph on it in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from weightcut.analysis.names import metric_name
from weightcut.analysis.speed import timing_doubts
from weightcut.analysis.verdicts import percent
from weightcut.records import Keep, Target
from weightcut.records.results import Interval, VariantResult

TIE = 1.02
"""Latencies within 2% of the best are a tie, which size decides."""


def recommend(
    variants: Sequence[VariantResult], baseline: str, keep: Keep, target: Target
) -> tuple[str | None, str]:
    """Return the variant to deploy (None: nothing was measured) and why.

    Among the variants that retained quality: the fastest that meets the target; else the fastest
    that beats the baseline's latency; else the smallest that is smaller than the baseline and, as
    far as was measured, needs less memory; else the best of those that are surely better than the
    baseline (trained ones) and, as far as was measured, no slower or larger; else the baseline.
    """
    base = next((v for v in variants if v.name == baseline), None)
    retained = [v for v in variants if v.verdict == "retained"]
    chosen = (
        _fastest([v for v in retained if v.meets_target])
        or _fastest([v for v in retained if (_speedup(v) or 0) > 1])
        or _smallest([v for v in retained if (_size(v) or 2) < 1 and _memory(v) < 1])
        or _best([v for v in retained if _surely_better(v)])
    )
    if chosen is not None:
        words = [
            _deploy(chosen, baseline, keep, target),
            *_timing(chosen, base),
            *_open_questions(variants),
        ]
        return chosen.name, " ".join(words)
    if base is None or base.verdict == "unmeasured":
        return None, "Nothing can be recommended: the baseline's quality was not measured. " + (
            "See the errors and the skipped cells, mend them and run the study again."
        )
    words = [f"Deploy the baseline, {baseline}, for now.", _why_not(retained, keep)]
    return baseline, " ".join([*words, *_open_questions(variants)])


def _speedup(variant: VariantResult) -> float | None:
    return variant.against_baseline.latency_speedup if variant.against_baseline else None


def _size(variant: VariantResult) -> float | None:
    return variant.against_baseline.size_ratio if variant.against_baseline else None


def _memory(variant: VariantResult) -> float:
    """Return the share of the baseline's memory that is needed, 0 where it was not measured."""
    against = variant.against_baseline
    return (against.memory_ratio if against else None) or 0.0


def _fastest(variants: Sequence[VariantResult]) -> VariantResult | None:
    best = max((_speedup(v) or 0.0 for v in variants), default=0.0)
    return _smallest([v for v in variants if (_speedup(v) or 0.0) * TIE >= best])


def _smallest(variants: Sequence[VariantResult]) -> VariantResult | None:
    return min(variants, key=lambda v: (_size(v) or 1e9, -(_speedup(v) or 0.0)), default=None)


def _best(variants: Sequence[VariantResult]) -> VariantResult | None:
    return max(variants, key=lambda v: _kept(v).value or 0.0, default=None)


def _surely_better(variant: VariantResult) -> bool:
    """Whether the whole interval lies above the baseline, at no cost in speed or size."""
    slower = (_speedup(variant) or 1.0) * TIE < 1
    return (_kept(variant).low or 0.0) > 1 and not slower and (_size(variant) or 1.0) <= TIE


def _kept(variant: VariantResult) -> Interval:
    against = variant.against_baseline
    return (against.primary_retention if against else None) or Interval(value=None)


def _deploy(chosen: VariantResult, baseline: str, keep: Keep, target: Target) -> str:
    words = [f"Deploy {chosen.name}.", _gain(chosen, baseline), _loss(chosen, keep)]
    if not chosen.meets_target:
        speedup = _speedup(chosen)
        reached = "its speed was not measured" if speedup is None else f"it reaches {speedup:.2f}x"
        words.append(
            f"No variant that surely keeps quality meets the target of {target.latency_speedup:g} "
            f"times the speed ({reached})."
        )
    return " ".join(filter(None, words))


def _timing(chosen: VariantResult, base: VariantResult | None) -> list[str]:
    """Return which timings under the speed-up are not to be trusted, and why."""
    words = []
    compared = base if _speedup(chosen) is not None else None
    for whose, variant in (("Its", chosen), ("The baseline's", compared)):
        doubts = timing_doubts(variant.profile) if variant else []
        if doubts:
            words.append(f"{whose} speed is not to be trusted: {_join(doubts)}.")
    return words


def _gain(chosen: VariantResult, baseline: str) -> str:
    against = chosen.against_baseline
    if against is None:
        return ""
    parts = []
    if against.latency_speedup is not None:
        faster = against.latency_speedup >= 1
        times = against.latency_speedup if faster else 1 / against.latency_speedup
        parts.append(f"answers {times:.2f} times {'faster' if faster else 'slower'}")
    for ratio, what in ((against.memory_ratio, "memory"), (against.size_ratio, "disk space")):
        if ratio is not None:
            parts.append(f"needs {ratio:.0%} of the {what}")
    return f"Compared with {baseline} it {_join(parts)}." if parts else ""


def _loss(chosen: VariantResult, keep: Keep) -> str:
    kept = _kept(chosen)
    if kept.value is None or kept.low is None:
        return ""
    metric, odds = metric_name(keep.metric), f"with {percent(keep.confidence)} confidence"
    if kept.low > 1:
        return (
            f"It is surely better: the best guess is {kept.value:.1%} of the baseline's {metric}, "
            f"at least {kept.low:.1%} ({odds}, from {kept.n} samples)."
        )
    if kept.low == 1:
        return f"It loses nothing of {metric} that {kept.n} samples could show ({odds})."
    sure = "and no other check found it worse" if chosen.guards else "and nothing else was checked"
    return (
        f"In the worst case it loses {1 - kept.low:.1%} of the baseline's {metric} ({odds}, "
        f"from {kept.n} samples; the best guess is {kept.value:.1%} kept), which is within the "
        f"{percent(1 - keep.share)} that this study allows, {sure}."
    )


def _why_not(retained: Sequence[VariantResult], keep: Keep) -> str:
    if retained:
        names = _join([v.name for v in retained])
        are = "is" if len(retained) == 1 else "are"
        return f"{names} surely kept the quality but {are} neither faster nor lighter in memory."
    return f"No variant surely keeps {percent(keep.share)} of its {metric_name(keep.metric)}."


def _open_questions(variants: Sequence[VariantResult]) -> list[str]:
    undecided = [v for v in variants if v.verdict == "undecided"]
    unmeasured = [v.name for v in variants if v.verdict == "unmeasured"]
    words = []
    if undecided:
        parts = [
            f"{v.name} (about {v.further_samples} more samples)" if v.further_samples else v.name
            for v in undecided
        ]
        words.append(
            f"Undecided: {_join(parts)}; run a larger benchmark, or allow a larger loss, to settle "
            "what this study could not."
        )
    if unmeasured:
        words.append(f"Not measured: {_join(unmeasured)}.")
    return words


def _join(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
