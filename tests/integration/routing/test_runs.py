"""A finished run becomes an outcome table."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.scripted_models import humaneval_model, scripted_study


def weightcut(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weightcut", *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | {"WEIGHTCUT_HOME": str(home), "COLUMNS": "200"},
    )


def test_a_run_becomes_a_table(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", skill=0.9)
    study = scripted_study(
        tmp_path,
        model,
        tasks=[{"name": "humaneval", "limit": 3}],
        profile={"concurrency": [1], "prompts": 1, "new_tokens": 2},
    )
    run, home, out = tmp_path / "run", tmp_path / "home", tmp_path / "outcomes.csv"
    done = weightcut("run", str(study), "--out", str(run), "--only", "light", "--json", home=home)
    assert done.returncode == 0, done.stderr
    words = ("router", "table", str(run), "-o", str(out))
    made = weightcut(*words, "--quality", "pass@1", home=home)
    assert made.returncode == 0, made.stderr
    with out.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert {row["variant"] for row in found} == {"full", "light"}
    assert len(found) == 6
    assert all(0 <= float(row["quality"]) <= 1 and float(row["cost"]) > 0 for row in found)
    assert "def " in found[0]["prompt"]
    assert {"codebleu", "parses", "mean_logprob", "task"} <= set(found[0])
    unknown = weightcut(*words, "--quality", "beauty", home=home)
    assert unknown.returncode == 2
    assert "codebleu" in unknown.stderr


def test_a_task_of_ones_own_tells_its_prompts_too(tmp_path: Path) -> None:
    example = tmp_path / "own_task.py"
    shutil.copy(Path(__file__).parents[3] / "examples" / "own_task.py", example)
    profile = {"concurrency": [1], "prompts": 1, "new_tokens": 2}
    model = humaneval_model(tmp_path / "model")
    tasks = [f"{example}:Slugs"]
    study = scripted_study(tmp_path, model, tasks=tasks, profile=profile)
    run, home, out = tmp_path / "run", tmp_path / "home", tmp_path / "outcomes.csv"
    done = weightcut("run", str(study), "--out", str(run), "--only", "light", "--json", home=home)
    assert done.returncode == 0, done.stderr
    words = ("router", "table", str(run), "-o", str(out), "--quality", "pass@1")
    made = weightcut(*words, home=home)
    assert made.returncode == 0, made.stderr
    with out.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert {row["prompt_id"] for row in found} == {"slugs/slug", "slugs/initials"}
    assert all("slug" in row["prompt"] or "initials" in row["prompt"] for row in found)
    example.write_text("raise SystemExit('this must not run')")
    changed = weightcut(*words, home=home)
    assert changed.returncode == 2
    assert "has changed or is gone" in changed.stderr
