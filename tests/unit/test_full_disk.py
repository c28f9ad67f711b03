"""A disk that is full is told as that, whatever library found it out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.filled_home import compress
from tests.scripted_models import humaneval_model

from weightcut.errors import full_disk


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


def test_every_form_of_it_is_known() -> None:
    with pytest.raises(OSError, match="No space") as caught:
        Path("/dev/full").write_text("x")
    for error in (
        caught.value,
        _raised(RuntimeError("cannot be written"), caught.value),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ):
        told = full_disk(error)
        assert told is not None
        assert "WEIGHTCUT_HOME" in told.cure


def test_other_errors_are_not_it() -> None:
    assert full_disk(OSError(13, "Permission denied")) is None
    ring = RuntimeError("a")
    assert full_disk(_raised(ring, ring)) is None


def test_a_disk_that_fills_midway_costs_no_traceback(small_disk: Path, tmp_path: Path) -> None:
    model = humaneval_model(tmp_path / "model")
    done = compress(model, small_disk, "scripted-shrink(size=100.0)", "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    left = [path for path in small_disk.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    assert not left
