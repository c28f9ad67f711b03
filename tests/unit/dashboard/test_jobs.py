from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from weightcut.dashboard import jobs
from weightcut.dashboard.runs import STUDY
from weightcut.errors import UsageError, WeightcutError


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "-x", "a b", "x" * 81, "a\n"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be named"):
        jobs.start(tmp_path, name, "study: x")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(UsageError, match="there already"):
        jobs.start(tmp_path, "mine", "study: x")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def _started(folder: Path, pid: object) -> Path:
    folder.mkdir()
    (folder / STUDY).write_text("study: x")
    (folder / jobs.PROCESS).write_text(json.dumps({"pid": pid}))
    return folder


@pytest.mark.parametrize(
    "pid", [pytest.param(os.getpid(), id="own"), 1, 0, -1, 2**40, True, "1", None, [3]]
)
def test_a_process_that_is_no_run_of_the_folder_is_none(tmp_path: Path, pid: object) -> None:
    assert jobs.process(_started(tmp_path / "run", pid)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid"', "[" * 100_000])
def test_a_broken_record_of_the_process_is_none(tmp_path: Path, text: str) -> None:
    folder = _started(tmp_path / "run", 1)
    (folder / jobs.PROCESS).write_text(text)
    assert jobs.process(folder) is None


def test_another_process_is_never_stopped(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        folder = _started(tmp_path / "run", sleeper.pid)
        with pytest.raises(UsageError, match="not at work"):
            jobs.stop(folder)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_run_that_was_started_elsewhere_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / STUDY).write_text("study: x")
    with pytest.raises(UsageError, match="not started from the dashboard"):
        jobs.resume(tmp_path / "run")


def test_what_is_no_text_among_what_a_command_prints_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy = tmp_path / "python"
    noisy.write_text("#!/bin/sh\nprintf '\\377' >&2\necho '{}'\n")
    noisy.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(noisy))
    assert jobs.ask(["plan"]) == {}
    noisy.write_text("#!/bin/sh\nprintf '\\377\\nerror: no such thing\\n' >&2\nexit 1\n")
    with pytest.raises(WeightcutError, match="no such thing"):
        jobs.ask(["plan"])


def test_logs_are_read_without_terminal_codes_and_links(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / jobs.LOG).write_bytes(b"\x1b[1mbold\x1b[0m\r\nold\rnew\n\xff")
    (tmp_path / "logs" / "full.build.log").write_text("built\n")
    (tmp_path / "logs" / "empty.log").write_text("")
    (tmp_path / "logs" / "link.log").symlink_to("/etc/passwd")
    assert jobs.logs(tmp_path) == [jobs.LOG, "logs/full.build.log"]
    assert jobs.tail(tmp_path, jobs.LOG).splitlines() == ["bold", "new", "\ufffd"]
    assert jobs.tail(tmp_path, "logs/link.log") == ""


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    (tmp_path / jobs.LOG).write_text("".join(f"line {n}\n" for n in range(50_000)))
    assert jobs.tail(tmp_path, jobs.LOG, 3).splitlines() == [
        "line 49997", "line 49998", "line 49999",
    ]  # fmt: skip
