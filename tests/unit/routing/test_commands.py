"""`weightcut router` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.outcomes import rows

from weightcut.routing.router import load_router
from weightcut.routing.table import write_table


def weightcut(*words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"COLUMNS": "200"}
    command = [sys.executable, "-m", "weightcut", "router", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(rows(200, 3), tmp_path_factory.mktemp("table") / "outcomes.csv")


@pytest.mark.parametrize("command", ["table", "fit", "evaluate"])
def test_help_has_an_example(command: str) -> None:
    done = weightcut(command, "--help")
    assert done.returncode == 0
    assert f"Example: weightcut router {command}" in done.stdout


def test_fit_writes_a_router_that_can_be_loaded(outcomes: Path, tmp_path: Path) -> None:
    out = tmp_path / "router"
    words = ("fit", str(outcomes), "-o", str(out), "--policy", "linear", "--keep", "0.7", "--json")
    done = weightcut(*words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["variants"] == ["v0", "v1", "v2"]
    assert load_router(out).promise["says"] == told["promise"]["says"]
    again = weightcut(*words)
    assert again.returncode == 2
    assert "already there" in again.stderr


def test_evaluate_prints_json_and_writes_the_report(outcomes: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = weightcut(
        "evaluate", str(outcomes), "--train", "120", "--splits", "2", "--seed", "1",
        "--policy", "linear", "--policy", "rules", "-o", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["train"] == 120
    policies = [name for name, one in told["policies"].items() if not one["reference"]]
    assert policies == ["linear", "rules", "knn", "length"]
    assert (out / "routing.html").is_file()


def test_mistakes_are_told_without_a_traceback(outcomes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "t.csv"
    broken.write_text("prompt,variant\nx,a\n")
    out = str(tmp_path / "r")
    for code, words in (
        (1, ("fit", str(broken), "-o", out)),
        (2, ("fit", "nowhere.csv", "-o", out)),
        (2, ("fit", str(outcomes), "-o", out, "--policy", "boost")),
        (2, ("fit", str(outcomes), "-o", out, "--keep", "0")),
        (2, ("evaluate", str(outcomes), "--train", "5000")),
        (2, ("evaluate", str(outcomes), "--splits", "0")),
        (2, ("table", str(tmp_path))),
    ):
        done = weightcut(*words)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr
