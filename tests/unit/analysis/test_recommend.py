from __future__ import annotations

import pytest

from weightcut.analysis.recommend import recommend
from weightcut.records import Keep, Target
from weightcut.records.results import (
    AgainstBaseline,
    Interval,
    Percentiles,
    Profile,
    VariantResult,
    Verdict,
)


def _variant(
    name: str,
    verdict: Verdict,
    speedup: float | None = None,
    size: float | None = None,
    further: int | None = None,
) -> VariantResult:
    kept = Interval(value=0.99, low=0.96, high=1.02, n=164)
    return VariantResult(
        name=name,
        engine="openvino",
        recipe=[],
        artifact_bytes=None,
        tasks={},
        profile=None,
        against_baseline=AgainstBaseline(
            primary_retention=kept, latency_speedup=speedup, size_ratio=size, memory_ratio=size
        ),
        verdict=verdict,
        verdict_reasons=["-"],
        further_samples=further,
        meets_target=verdict == "retained" and (speedup or 0) >= 2,
        on_frontier=False,
    )


BASE = _variant("full", "baseline", 1.0, 1.0)


def _chosen(*variants: VariantResult) -> tuple[str | None, str]:
    return recommend([BASE, *variants], "full", Keep(), Target())


@pytest.mark.parametrize(
    ("variants", "chosen"),
    [
        ([("a", "retained", 2.5, 1.0), ("b", "retained", 3.0, 0.5)], "b"),
        ([("a", "retained", 3.0, 0.5), ("b", "retained", 3.03, 0.9)], "a"),
        ([("a", "retained", 2.5, 0.5), ("b", "lost", 9.0, 0.1)], "a"),
        ([("a", "undecided", 9.0, 0.1), ("b", "retained", 1.3, 1.0)], "b"),
        ([("a", "retained", 0.8, 0.5), ("b", "retained", 0.7, 0.3)], "b"),
        ([("a", "retained", 0.8, 1.2)], "full"),
        ([("a", "undecided", 3.0, 0.2)], "full"),
        ([("a", "retained", None, 0.5)], "a"),
        ([("a", "unmeasured", None, None)], "full"),
        ([], "full"),
    ],
)
def test_choice(variants: list[tuple[str, Verdict, float, float]], chosen: str) -> None:
    name, paragraph = _chosen(*(_variant(*v) for v in variants))
    assert name == chosen
    assert chosen in paragraph


def test_the_paragraph_tells_gain_risk_and_open_questions() -> None:
    _, words = _chosen(
        _variant("int8", "retained", 3.1, 0.5), _variant("nf4", "undecided", 0.7, 0.4, further=120)
    )
    for part in (
        "Deploy int8",
        "3.10 times faster",
        "50% of the memory",
        "loses 4.0% of the baseline's CodeBLEU",
        "95% confidence",
        "164 samples",
        "nf4 (about 120 more samples)",
    ):
        assert part in words


def test_a_missed_target_is_told() -> None:
    _, words = _chosen(_variant("int8", "retained", 1.4, 0.5))
    assert "meets the target of 2 times the speed (it reaches 1.40x)" in words


def test_slower_is_told_as_slower() -> None:
    _, words = _chosen(_variant("nf4", "retained", 0.5, 0.4))
    assert "2.00 times slower" in words


def test_without_a_measured_baseline_nothing_is_recommended() -> None:
    unmeasured = _variant("full", "unmeasured")
    name, words = recommend([unmeasured], "full", Keep(), Target())
    assert name is None
    assert "Nothing can be recommended" in words


@pytest.mark.parametrize(("busy", "whose"), [("int8", "Its"), ("full", "The baseline's")])
def test_doubts_on_either_timing_are_told(busy: str, whose: str) -> None:
    unknown = Percentiles(p50=None, p90=None, p99=None)
    profile = Profile(
        ttft_ms=unknown, tpot_ms=unknown, latency_ms=unknown,
        tokens_per_s={}, peak_rss_bytes=None, quiet=False, busy={"during": 0.4},
    )  # fmt: skip
    variants = [
        v.model_copy(update={"profile": profile}) if v.name == busy else v
        for v in (BASE, _variant("int8", "retained", 3.1, 0.5))
    ]
    _, words = recommend(variants, "full", Keep(), Target())
    assert f"{whose} speed is not to be trusted: the machine was busy" in words
    assert words.count("not to be trusted") == 1
