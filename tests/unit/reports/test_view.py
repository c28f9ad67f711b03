from __future__ import annotations

import pytest

from weightcut.records.results import Results
from weightcut.reports import view

from .conftest import CUTS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no variants", "There are no variants."),
        ("only the baseline", "There is only the baseline"),
        ("nothing measured", "No speed or memory has been measured."),
        ("one failed", "With errors: distilled-int8."),
        ("no profile", "No speed or memory has been measured."),
        ("no tasks", "No task has been measured"),
        ("no baseline", "The baseline full is not among the variants shown here."),
    ],
)
def test_gaps_are_said(results: Results, name: str, says: str) -> None:
    found = view.gaps(results.model_copy(update=CUTS[name](results)))
    assert any(gap.startswith(says) for gap in found), found


def test_a_finished_study_has_no_gaps(results: Results) -> None:
    assert view.gaps(results) == []


def test_notes_are_found_anywhere_in_the_conditions(results: Results) -> None:
    conditions = {"a": {"notes": ["one", "two"]}, "b": [{"note": "three"}], "notes": ["one"]}
    page = view.page(results.model_copy(update={"conditions": conditions}))
    assert page.notes == ["one", "two", "three"]


def test_figures_of_the_recommended_variant(results: Results) -> None:
    page = view.page(results)
    assert page.recommended == "ov-int8"
    assert dict(page.figures)["size on disk"] == "135 MB"
    assert dict(page.figures)["times as fast"] == "3.12×"


def test_a_study_name_is_quoted_for_the_shell(results: Results) -> None:
    page = view.page(results.model_copy(update={"study": "a'; rm -rf b"}))
    assert page.reproduce[0] == """weightcut plan 'a'"'"'; rm -rf b'"""


def test_many_names_are_cut_short(results: Results) -> None:
    bare = results.variants[-1].model_copy(update={"profile": None})
    variants = [
        results.variants[0],
        *(bare.model_copy(update={"name": f"v{i}"}) for i in range(30)),
    ]
    found = view.gaps(results.model_copy(update={"variants": variants}))
    assert any(gap.endswith("and 18 more.") for gap in found)


def test_zeros_that_bring_nothing_are_among_the_limits(results: Results) -> None:
    assert not any("zeros" in limit for limit in view.page(results).limits)
    sparse = results.variants[1].model_copy(
        update={"name": "half\nzero", "details": {"wanda": {"zeros_by_layer": {"a": 0.5}}}}
    )
    found = view.page(results.model_copy(update={"variants": [results.variants[0], sparse]})).limits
    assert any(limit.startswith("The zeros of half zero are stored") for limit in found)
    assert any("neither size nor speed" in limit for limit in found)
