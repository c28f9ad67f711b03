"""Both models of a run answer a prompt, each in a process that ends with its answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.api import evaluate_tradeoff
from weightcut.dashboard.generate import LONGEST, Question, generate
from weightcut.errors import UsageError, WeightcutError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scripted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGHTCUT_HOME", str(folder / "home"))
        study = scripted_study(folder, humaneval_model(folder / "model"), limit=1, profile=None)
        evaluate_tradeoff(study, folder / "run", only=["light"])
    return folder / "run"


def test_every_variant_answers(run: Path) -> None:
    prompt = "def has_close_elements("
    found = generate(Question(folder=run, variants=("light", "full"), prompt=prompt))
    assert set(found) == {"light", "full"}
    assert "has_close_elements" in found["full"]["text"]
    assert found["full"]["tokens"] > 1
    assert found["full"]["cut"] == (found["full"]["tokens"] == 256)


def test_a_variant_without_a_model_is_told(run: Path) -> None:
    with pytest.raises(WeightcutError, match="not built"):
        generate(Question(folder=run, variants=("worse",), prompt="x"))


def test_what_is_no_text_among_what_an_engine_prints_is_no_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = tmp_path / "python"
    noisy.write_text(
        f"#!/bin/sh\nprintf '\\377'\nprintf '\\377' >&2\nexec {sys.executable} \"$@\"\n"
    )
    noisy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(noisy))
    found = generate(Question(folder=run, variants=("full",), prompt="x", tokens=2))
    assert found["full"]["cut"]


def test_a_prompt_has_an_end(run: Path) -> None:
    with pytest.raises(UsageError, match="letters"):
        generate(Question(folder=run, variants=("full",), prompt="x" * (LONGEST + 1)))


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightcutError, match="no run here"):
        generate(Question(folder=tmp_path, variants=("full",), prompt="x"))
