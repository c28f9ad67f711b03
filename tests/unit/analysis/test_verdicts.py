from __future__ import annotations

import pytest

from weightcut.analysis.statistics import Ratio
from weightcut.analysis.verdicts import judge
from weightcut.records import Keep
from weightcut.records.results import Guard

KEEP = Keep()


def _ratio(value: float, low: float | None, high: float | None, n: int = 164) -> Ratio:
    return Ratio(value, low, high, n, spread=0.3)


def _guard(*, worse: bool = False, p: float | None = 0.5) -> Guard:
    return Guard(name="pass@1", p_value=p, p_holm=p, worse=worse, says="passes 2 of 164")


@pytest.mark.parametrize(
    ("ratio", "guard", "verdict"),
    [
        (_ratio(1.0, 0.96, 1.04), _guard(), "retained"),
        (_ratio(1.0, 0.95, 1.04), _guard(), "undecided"),
        (_ratio(0.9, 0.86, 0.94), _guard(), "lost"),
        (_ratio(0.9, 0.86, 0.95), _guard(), "undecided"),
        (_ratio(1.2, 1.1, 1.3), _guard(worse=True, p=0.001), "lost"),
        (_ratio(1.0, 0.96, None), _guard(), "retained"),
        (_ratio(0.9, 0.8, None), _guard(), "undecided"),
        (_ratio(1.0, 0.96, 1.04), _guard(p=None), "undecided"),
        (_ratio(0.9, 0.86, 0.94), _guard(p=None), "lost"),
        (_ratio(1.0, 0.99, 1.01, n=9), _guard(), "undecided"),
        (_ratio(0.5, 0.4, 0.6, n=9), _guard(), "undecided"),
        (None, _guard(), "unmeasured"),
        (None, _guard(worse=True, p=0.001), "lost"),
        (Ratio(None, None, None, 164, reason="the baseline has 0"), _guard(), "unmeasured"),
    ],
)  # fmt: skip
def test_verdict(ratio: Ratio | None, guard: Guard, verdict: str) -> None:
    found = judge(KEEP, ratio, [guard], missing="it has not been run")
    assert found.verdict == verdict
    assert found.reasons
    assert all(found.reasons)


def test_without_guards_the_primary_alone_decides() -> None:
    assert judge(KEEP, _ratio(1.0, 0.96, 1.04), [], "").verdict == "retained"


def test_undecided_says_how_many_more_samples() -> None:
    found = judge(KEEP, _ratio(0.98, 0.93, 1.03), [_guard()], "")
    # (1.96 * 0.3 / 0.03)^2 = 385 samples in all
    assert found.further_samples == pytest.approx(385 - 164, abs=1)
    assert str(found.further_samples) in " ".join(found.reasons)


def test_on_the_margin_no_number_decides() -> None:
    found = judge(KEEP, _ratio(0.9501, 0.91, 0.99), [_guard()], "")
    assert found.further_samples is None
    assert "no realistic number" in " ".join(found.reasons)


def test_an_untested_guard_is_named() -> None:
    found = judge(KEEP, _ratio(1.0, 0.96, 1.04), [_guard(p=None)], "")
    assert "guard pass@1 could not be tested" in " ".join(found.reasons)
    assert found.further_samples is None


def test_reasons_hold_the_figures() -> None:
    (reason, *_) = judge(KEEP, _ratio(0.9, 0.86, 0.94), [_guard()], "").reasons
    for figure in ("90.0%", "86.0%", "94.0%", "164", "95%"):
        assert figure in reason
