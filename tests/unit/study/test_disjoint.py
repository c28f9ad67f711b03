from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.families import make_family

from weightcut.compression.recipe import parse_recipe
from weightcut.errors import UsageError
from weightcut.models.folder import folder_checkpoint
from weightcut.study.build import artifact_key
from weightcut.study.disjoint import refuse_overlap
from weightcut.tasks.perplexity import Perplexity

PASSAGE = " ".join(f"word{i} of the measured text" for i in range(40))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [{"text": f"row {i} " * 40} for i in range(60)]
    rows[3]["text"] += PASSAGE
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_text_that_the_study_measures_on_is_refused(table: Path, tmp_path: Path) -> None:
    (tmp_path / "measured").mkdir()
    task = Perplexity(texts=str(tmp_path / "measured"))
    (tmp_path / "measured" / "one.txt").write_text("something else altogether\n" * 20)
    steps = parse_recipe(f"lora(data={table}, leave_out_overlap=true)")
    refuse_overlap(steps, [task])
    refuse_overlap(parse_recipe("distill"), [task])
    (tmp_path / "measured" / "two.txt").write_text(f"before\n{PASSAGE}\nafter\n")
    again = Perplexity(texts=str(tmp_path / "measured"))
    with pytest.raises(
        UsageError, match=r"mine.jsonl:4, shares with text 2 of the task perplexity"
    ):
        refuse_overlap(steps, [again])


def test_an_artifact_is_known_by_what_its_training_reads(table: Path, tmp_path: Path) -> None:
    model = folder_checkpoint(make_family("llama-tied", tmp_path / "model"), "model", "a test")
    teacher = make_family("llama-untied", tmp_path / "teacher")
    plain = artifact_key(model, parse_recipe("distill"), 0)
    steps = parse_recipe(f"distill(data={table}, teacher={teacher})")
    first = artifact_key(model, steps, 0)
    assert len({plain, first, artifact_key(model, parse_recipe(f"distill(data={table})"), 0)}) == 3
    assert artifact_key(model, steps, 0) == first
    table.write_text(table.read_text() + json.dumps({"text": "one more"}) + "\n")
    second = artifact_key(model, steps, 0)
    assert second != first
    (teacher / "README.md").write_text("another teacher")
    assert artifact_key(model, steps, 0) != second
    with pytest.raises(UsageError, match="there is no model"):
        artifact_key(model, parse_recipe("distill(teacher=nobody)"), 0)
    with pytest.raises(UsageError, match="no such text"):
        artifact_key(model, parse_recipe("lora(data=nowhere.jsonl)"), 0)
