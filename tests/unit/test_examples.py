"""The examples run as they stand, on the scripted model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.scripted_models import humaneval_model, scripted_study

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(home: Path, name: str, *words: str) -> str:
    path = EXAMPLES / name
    assert len(path.read_text().splitlines()) <= 30
    done = subprocess.run(
        [sys.executable, str(path), *words],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | {"WEIGHTCUT_HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_run(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model", skill=0.9)
    small = str(tmp_path / "small")
    assert "scripted" in _run(tmp_path, "compress.py", str(model), "scripted-shrink(0.2)", small)
    study = scripted_study(tmp_path, model, limit=2, profile=None)
    assert "baseline" in _run(tmp_path, "tradeoff.py", str(study), str(tmp_path / "run"))
    own = ("own_study.py", str(model), "scripted", "scripted-shrink(0.1)", str(tmp_path / "own"))
    assert _run(tmp_path, *own).strip()
