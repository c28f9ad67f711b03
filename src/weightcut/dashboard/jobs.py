"""Studies as background processes: started from a page, outliving it, stopped and gone on with.

A run that a page started is a folder with `study.yaml` (what it runs), `dashboard.json` (the
process) and `dashboard.log` (what it said). Nothing else is written, and nothing is ever deleted.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from weightcut.dashboard.runs import STUDY
from weightcut.errors import NotHere, UsageError, WeightcutError
from weightcut.files import write_whole

LOG = "dashboard.log"
PROCESS = "dashboard.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_TAIL = 64_000  # bytes of a log that are read
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_OURS = ("STREAMLIT_", "WEIGHTCUT_DASHBOARD_", "PYTHONSAFEPATH")


def start(place: Path, name: str, study: str) -> Path:
    """Start a study in a new folder of `place`; return the folder.

    study: the text of a study file. UsageError where the folder is there already.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a run folder cannot be named {name!r}",
            cure="use letters, digits, dots, dashes and underscores",
        )
    folder = place / name
    try:
        place.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError as error:
        raise UsageError(
            "this folder is there already", place=str(folder), cure="choose another name"
        ) from error
    except OSError as error:
        raise NotHere(f"cannot make the folder: {error.strerror}", place=str(folder)) from error
    write_whole(folder / STUDY, study.encode())
    _launch(folder)
    return folder


def resume(folder: Path) -> None:
    """Go on with a run that was started from a page and is not at work."""
    if not started_here(folder):
        raise UsageError("this run was not started from the dashboard", place=str(folder))
    if process(folder) is not None:
        raise UsageError("this run is at work already", place=str(folder))
    _launch(folder)


def stop(folder: Path) -> None:
    """Interrupt a run that was started from a page; what it has measured stays.

    Only a process whose command is to run this very folder is ever signalled.
    """
    found = process(folder)
    if found is None:
        raise UsageError("this run is not at work, or was started elsewhere", place=str(folder))
    try:
        handle = os.pidfd_open(found)
    except OSError:
        return  # it has just ended
    try:
        if process(folder) == found:
            # The same as Ctrl+C to `weightcut run`; SIGINT itself is ignored by processes whose
            # ancestor was started in the background of a shell.
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def started_here(folder: Path) -> bool:
    """Return whether a run was started from a page."""
    files = [folder / STUDY, folder / PROCESS]
    return all(path.is_file() and not path.is_symlink() for path in files)


def process(folder: Path) -> int | None:
    """Return the process that runs a folder, None where there is none that a page started."""
    try:
        data = json.loads((folder / PROCESS).read_text("utf-8"))
        number = data["pid"]
        if not isinstance(number, int) or isinstance(number, bool) or number <= 1:
            return None
        found = psutil.Process(number)
        same = found.cmdline()[1:] == command(folder)[1:]
        return number if same and found.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, psutil.Error, OverflowError):
        return None


def command(folder: Path) -> list[str]:
    """Return the command that runs a folder's study."""
    whole = folder.resolve()
    run = ["-m", "weightcut", "run", str(whole / STUDY), "--out", str(whole)]
    return [sys.executable, *run]


def _launch(folder: Path) -> None:
    try:
        with (folder / LOG).open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                command(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
    except OSError as error:
        raise NotHere(f"cannot start the run: {error.strerror}", place=str(folder)) from error
    write_whole(folder / PROCESS, json.dumps({"pid": child.pid}).encode())
    # Without somebody waiting for it, an ended process would stay in the table.
    threading.Thread(target=child.wait, daemon=True).start()


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    return kept | {"PYTHONUNBUFFERED": "1"}


def ask(arguments: Sequence[str], seconds: float = 600.0) -> Any:
    """Return what a command of weightcut prints as JSON; its error is raised as ours.

    arguments: options, then `--` and what is no option, if anything. It runs in a process of its
    own: the server imports no model library, and no broken one ends it.
    """
    options = list(itertools.takewhile("--".__ne__, arguments))
    rest = arguments[len(options) :]
    whole = [sys.executable, "-m", "weightcut", *options, "--json", *rest]
    try:
        done = subprocess.run(  # noqa: S603
            whole,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # of what libraries print, which may be half a letter
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_environment() | {"COLUMNS": "1000", "NO_COLOR": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"weightcut {arguments[0]} took longer than {seconds:.0f} s") from error
    if done.returncode:
        raise _error(done.stderr, arguments[0])
    return json.loads(done.stdout)


def _error(said: str, name: str) -> WeightcutError:
    cause, cure = f"weightcut {name} failed", ""
    for line in clean(said).splitlines():
        if line.startswith("error:"):
            cause = line.removeprefix("error:").strip()
        elif line.startswith("what to do:"):
            cure = line.removeprefix("what to do:").strip()
    return WeightcutError(cause, cure=cure)


def logs(folder: Path) -> list[str]:
    """Return the names of a run's logs that hold something, its own first."""
    found = [LOG] if _size(folder / LOG) else []
    with contextlib.suppress(OSError):
        inner = sorted((folder / "logs").glob("*.log"))
        found += [f"logs/{path.name}" for path in inner if _size(path)]
    return found


def _size(path: Path) -> int:
    try:
        return 0 if path.is_symlink() else path.stat().st_size
    except OSError:
        return 0


def tail(folder: Path, name: str, lines: int = 200) -> str:
    """Return the last lines of a log, without terminal codes."""
    path = folder / name
    if path.is_symlink():
        return ""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL))
            said = stream.read().decode("utf-8", "replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "\n".join(clean(said).splitlines()[-lines:])


def clean(said: str) -> str:
    """Return a program's output without terminal codes; of rewritten lines the last state."""
    plain = _ESCAPES.sub("", said).replace("\r\n", "\n")
    return "\n".join(line.rpartition("\r")[2] for line in plain.split("\n"))
