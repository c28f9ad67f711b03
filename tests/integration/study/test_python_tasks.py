"""Several answers to a task, and repair, through a whole study to the results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.records import CellKey
from weightcut.store.run_store import RunStore
from weightcut.study.run import run_study
from weightcut.study.spec import load_study


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))


def test_scores_reach_the_results(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", skill=0.8)
    tasks = [
        {"name": "humaneval", "limit": 12, "samples": 5, "temperature": 0.8,
         "max_new_tokens": 2_000},
        {"name": "repair", "limit": 25, "max_new_tokens": 2_000},
    ]  # fmt: skip
    study = scripted_study(tmp_path, model, tasks=tasks, profile=None, keep={"metric": "correct"})
    out = tmp_path / "run"
    results = run_study(load_study(study), out, only=["worse"])
    full, worse = (v for v in results.variants if v.name in ("full", "worse"))
    found = full.tasks["humaneval"]
    assert (found["n"], found["answers"]) == (12, 60)
    assert 0.6 < found["pass@1"]["value"] < found["pass@5"]["value"] <= 1
    assert found["pass@1"]["low"] < found["pass@1"]["value"] < found["pass@1"]["high"]
    assert found["compiles"]["value"] <= found["parses"]["value"] == 1

    repaired = full.tasks["repair"]
    assert repaired["n"] == 25
    assert repaired["correct"] == repaired["pass@1"]
    assert repaired["plausible"]["value"] >= repaired["correct"]["value"] > 0.5
    assert {"regression", "exact_match", "codebleu", "parses"} <= repaired.keys()

    assert results.keep["task"] == "repair"
    assert worse.verdict == "lost"
    assert worse.against_baseline is not None
    kept = worse.against_baseline.retention["repair"]
    assert kept["correct"] == worse.against_baseline.primary_retention
    assert kept["regression"].value is not None
    assert kept["regression"].value < 1, "more regressions keep less"

    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 2 * (60 + 25)

    first = {"tasks.0.limit": "3", "tasks.1.limit": "3"}
    again, anew = (
        run_study(load_study(study, first), tmp_path / name, only=["full"]).variants[0].tasks
        for name in ("again", "anew")
    )
    assert again == anew, "same seeds, same answers"
    key = CellKey(variant="full", stage="task", task="humaneval")
    texts: dict[str, set[str]] = {}
    for answer in RunStore.open(out).observations(key):
        texts.setdefault(answer.sample, set()).add(answer.detail["text"])
    assert any(len(different) > 1 for different in texts.values()), "repeats differ"
