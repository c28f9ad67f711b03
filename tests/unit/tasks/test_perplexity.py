from __future__ import annotations

from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model, scripted_study

from weightcut import api
from weightcut.errors import UsageError, WeightcutError
from weightcut.study.spec import load_study
from weightcut.tasks.perplexity import Perplexity
from weightcut.tasks.task import LikelihoodTask, Noted


def test_the_default_text_says_what_it_is() -> None:
    task = Perplexity()
    assert isinstance(task, LikelihoodTask)
    assert isinstance(task, Noted)
    assert "standard library" in task.notes()[0]
    assert len(task.documents()) > 20


def test_notes_name_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x = 1\n")
    for i in range(30):
        (tmp_path / f"bad{i:02d}.py").write_bytes(b"\0")
    notes = Perplexity(texts=str(tmp_path), files="*.py").notes()
    assert notes[0].startswith("perplexity: 1 text (6 bytes)")
    assert notes[1] == "perplexity: left out: bad00.py is binary"
    assert notes[-1] == "perplexity: left out: 10 more"


def test_a_study_on_a_folder_of_texts(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in range(4):
        (texts / f"{i}.txt").write_text(f"Text number {i} of a folder.\n" * 10)
    (texts / "latin.txt").write_bytes("é".encode("latin-1"))
    task = {"name": "perplexity", "limit": 4, "length": 64, "texts": str(texts)}
    model = humaneval_model(tmp_path / "model")
    study = load_study(scripted_study(tmp_path, model, tasks=[task], profile=None))
    results = api.evaluate_tradeoff(study, tmp_path / "run")
    full, light, worse, _ = (v.tasks["perplexity"] for v in results.variants)
    assert full["n"] == 4
    assert full["kl"] == 0
    assert light["flips_lost"] == light["flips_gained"] == 0
    assert worse["kl"] > 0
    assert worse["flips_lost"] > 0
    # right positions change by what is lost and gained
    assert worse["top1_accuracy"] == pytest.approx(
        full["top1_accuracy"] - worse["flips_lost"] + worse["flips_gained"]
    )
    notes = results.conditions["task_data"]["perplexity"]["notes"]
    assert "perplexity: left out: latin.txt is no UTF-8 (byte 0)" in notes
    assert "latin.txt" in (tmp_path / "run" / "report.md").read_text()


def test_a_folder_that_is_not_there_fails_before_anything_runs(tmp_path: Path) -> None:
    task = {"name": "perplexity", "texts": str(tmp_path / "nowhere")}
    model = humaneval_model(tmp_path / "model")
    study = load_study(scripted_study(tmp_path, model, tasks=[task], profile=None))
    with pytest.raises(UsageError, match="no such text file or folder"):
        api.evaluate_tradeoff(study, tmp_path / "run")
    assert not list((tmp_path / "run").glob("logs/*"))


def test_a_run_does_not_go_on_with_other_texts(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("Some text of a folder.\n" * 20)
    task = {"name": "perplexity", "limit": 2, "length": 32, "texts": str(texts)}
    model = humaneval_model(tmp_path / "model")
    path = scripted_study(tmp_path, model, tasks=[task], profile=None)
    api.evaluate_tradeoff(load_study(path), tmp_path / "run", only=["full"])
    (texts / "a.txt").write_text("Another text of a folder.\n" * 20)
    with pytest.raises(WeightcutError, match="the data of perplexity has changed"):
        api.evaluate_tradeoff(load_study(path), tmp_path / "run")
