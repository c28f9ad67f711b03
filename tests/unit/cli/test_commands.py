"""The commands as a user types them: help, JSON, errors without tracebacks, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model, scripted_study

COMMANDS = ("models", "plan", "run", "report", "compress", "evaluate", "profile", "compare")


def weightcut(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weightcut", *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | {"WEIGHTCUT_HOME": str(home), "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return humaneval_model(tmp_path_factory.mktemp("model"), skill=0.9)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, home: Path) -> None:
    words = (command, "list") if command == "models" else (command,)
    done = weightcut(*words, "--help", home=home)
    assert done.returncode == 0
    assert f"weightcut {command}" in done.stdout
    assert "Example:" in done.stdout


def test_plan_run_and_report(model: Path, home: Path, tmp_path: Path) -> None:
    study = scripted_study(tmp_path, model, limit=2, profile=None)
    planned = weightcut("plan", str(study), "--json", home=home)
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    assert [cell["key"]["variant"] for cell in plan["cells"]][:2] == ["full", "light"]
    assert plan["total"]["seconds"] > 0
    out = tmp_path / "out"
    run = weightcut("run", str(study), "--out", str(out), "--only", "light", "--json", home=home)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert results["schema"] == 1
    assert [v["name"] for v in results["variants"] if v["tasks"]] == ["full", "light"]
    (out / "report.html").unlink()
    report = weightcut("report", str(out), "--format", "html,md", home=home)
    assert report.returncode == 0, report.stderr
    assert (out / "report.html").exists()
    assert report.stdout.split() == [str(out / "report.html"), str(out / "report.md")]


def test_compress_then_evaluate_and_profile(model: Path, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    recipe = "scripted-shrink(speedup=2)"
    done = weightcut("compress", str(model), "--recipe", recipe, "-o", str(out), home=home)
    assert done.returncode == 0, done.stderr
    assert "scripted-shrink" in done.stdout
    again = weightcut("compress", str(model), "--recipe", recipe, "-o", str(out), home=home)
    assert again.returncode == 2
    assert "not empty" in again.stderr
    scored = weightcut(
        "evaluate", str(out), "--engine", "scripted", "--limit", "4", "--json", home=home
    )
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["n"] == 4
    timed = weightcut(
        "profile", str(out), "--engine", "scripted", "--concurrency", "1,2", "--prompts", "2",
        "--json", home=home,
    )  # fmt: skip
    assert timed.returncode == 0, timed.stderr
    assert json.loads(timed.stdout)["tpot_ms"]["p50"] == pytest.approx(5)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "quickstat"), 2, "did you mean 'quickstart'"),
        (("run", "--set", "nonsense"), 2, "write KEY=VALUE"),
        (("run", "--set", "tasks.9.limit=2"), 2, "no such place"),
        (("run", "--only", "ov-int9", "--set", "model=MODEL"), 2, "did you mean 'ov-int"),
        (("run", "--set", "model=nowhere/at/all"), 2, "there is no model"),
        (("report", "EMPTY"), 2, "no run here"),
        (("report", "EMPTY", "--format", "pdff"), 2, "unknown format"),
        (("compress", "MODEL", "-r", "int9", "-o", "x"), 2, "did you mean 'int"),
        (("compress", "MODEL", "-r", "int8", "-o", "x"), 2, "nothing turns the format"),
        (("evaluate", "MODEL", "--task", "humanevil", "-e", "scripted"), 2, "'humaneval'"),
        (("evaluate", "MODEL", "-e", "transformers"), 2, "which opens hf"),
        (("profile", "MODEL", "-e", "scripted", "--concurrency", "x"), 2, "concurrency"),
        (("run", "--limit", "0"), 2, "limit"),
        (("rum",), 2, "No such command"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    words: tuple[str, ...], code: int, says: str, model: Path, home: Path, tmp_path: Path
) -> None:
    named = {"MODEL": str(model), "EMPTY": str(tmp_path), "x": str(tmp_path / "x")}
    words = tuple(named.get(w, w.replace("=MODEL", f"={model}")) for w in words)
    done = subprocess.run(
        [sys.executable, "-m", "weightcut", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=dict(os.environ) | {"WEIGHTCUT_HOME": str(home), "COLUMNS": "200"},
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
