from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dashboard_runs import write_run

from weightcut.dashboard import answers
from weightcut.dashboard.answers import FILTERS, Index
from weightcut.dashboard.pages import samples
from weightcut.records import Named

TEXT = st.text(alphabet="ab \n\tx=(),", max_size=60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one")


def _index() -> Index:
    def scores(*passed: float) -> dict[tuple[str, int], dict[str, float]]:
        return {(f"task/{n}", 0): {"passed": p, "degenerate": 1 - p} for n, p in enumerate(passed)}

    base, other = scores(1, 1, 0, 0), scores(1, 0, 1, 0)
    del other["task/3", 0]
    return Index({"full": base, "int8": other}, sorted(base))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("all", [0, 1, 2, 3]),
        ("flips", [1, 2]),
        ("lost", [1]),
        ("gained", [2]),
        ("passed", [0]),
        ("failed", [3]),
        ("degenerate", [1, 2, 3]),
    ],
)
def test_filters(which: answers.Filter, expected: list[int]) -> None:
    found = answers.matching(_index(), "full", ["full", "int8"], which)
    assert [int(sample[-1]) for sample, _ in found] == expected


def test_every_filter_is_offered_with_words() -> None:
    assert set(FILTERS) == set(get_args(answers.Filter))
    assert all(FILTERS.values())


def test_search_goes_by_a_part_of_the_name() -> None:
    found = answers.matching(_index(), "full", ["full"], "all", " TASK/2 ")
    assert found == [("task/2", 0)]


def test_only_tasks_with_answers_are_shown(run: Path) -> None:
    assert answers.tasks(run) == ["humaneval"]


def test_index_and_answers(run: Path) -> None:
    found = answers.index(run, "humaneval")
    assert len(found.ids) == 24
    one = found.ids[3]
    given_ = answers.answers(run, "humaneval", ["full", "ov-int8", "absent"], one)
    assert given_["full"] is not None
    assert given_["full"].values == found.of("full", one)
    assert given_["absent"] is None
    assert "def task_" in answers.shown(given_["full"])


def test_codebleu_is_listed_where_the_first_sample_has_no_answer_yet() -> None:
    found = Index({"full": {("b", 0): {"codebleu": 0.5}}}, [("a", 0), ("b", 0)])
    headings, lines = samples.listed(found.ids, found, ["full"])
    assert headings == ["sample", "full", "CodeBLEU of full"]
    assert lines == [["a", "–", "–"], ["b", "answered", "0.500"]]


def test_a_prompt_comes_from_its_task() -> None:
    asked, reference = answers.prompt(Named(kind="humaneval"), "000")
    assert "has_close_elements" in asked
    assert reference


def test_a_task_from_a_file_that_the_run_names_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    assert answers.prompt(Named(kind="own", source=f"{file}:Own"), "x") == ("", "")
    assert not (tmp_path / "ran").exists()


def test_a_prompt_that_is_not_here_is_no_error() -> None:
    assert answers.prompt(Named(kind="no-such-task"), "x") == ("", "")


@given(TEXT, TEXT)
def test_differences_keep_the_text(old: str, new: str) -> None:
    lines = answers.differences(old, new)
    assert ["".join(piece for piece, _ in line) for line in lines] == new.splitlines()


@given(TEXT)
def test_equal_texts_do_not_differ(text: str) -> None:
    assert not any(differs for line in answers.differences(text, text) for _, differs in line)


@pytest.mark.parametrize("piece", ["a\n", "a ", "(", "ab\ncd "])
def test_very_long_answers_are_matched_by_their_place(piece: str) -> None:
    old, new = 20_000 * piece, 19_000 * piece + "x"
    lines = answers.differences(old, new)
    assert ["".join(one for one, _ in line) for line in lines] == new.splitlines()


def test_differing_words_are_marked() -> None:
    lines = answers.differences("return a + b", "return a - b")
    assert [piece for piece, differs in lines[0] if differs] == ["-"]


def test_tabs_of_marked_answers_are_as_wide_as_in_the_whole_line() -> None:
    pieces = [("\t", False), ("ab\t", True), ("c", False)]
    shown = list(samples._indented(pieces))
    assert shown == [("    ", False), ("ab  ", True), ("c", False)]
