"""A cache folder that cannot be written serves what it holds, and is told as that for the rest."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.filled_home import compress
from tests.scripted_models import humaneval_model

from weightcut.errors import sealed_home


def test_a_read_only_cache_serves_what_it_holds(small_disk: Path, tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model")
    home = small_disk / "home"
    assert compress(model, home, "scripted-shrink(size=0.5)", "one").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    again = compress(model, home, "scripted-shrink(size=0.5)", "two")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "two" / "scripted.json").is_file()
    other = compress(model, home, "scripted-shrink(size=0.25)", "three")
    assert other.returncode == 1
    assert "cannot be written (Read-only file system)" in other.stderr
    assert "WEIGHTCUT_HOME" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_cache_below_a_file_costs_no_traceback(tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model")
    (tmp_path / "file").write_text("x")
    done = compress(model, tmp_path / "file" / "home", "scripted-shrink", "out")
    assert done.returncode == 1, done.stderr
    assert "WEIGHTCUT_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_folders_are_not_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert sealed_home(PermissionError(13, "Permission denied", str(home / "a")), home)
    assert sealed_home(PermissionError(13, "Permission denied", str(tmp_path / "a")), home) is None
    assert sealed_home(FileNotFoundError(2, "No such file", str(home / "a")), home) is None
