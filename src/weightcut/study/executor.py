"""Runs one cell in a process of its own on this machine, and kills it whole."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from weightcut.records import Record
from weightcut.settings import isolated_environment
from weightcut.study.worker import Job

GRACE = 5.0  # seconds between asking a worker to stop and killing it


class Outcome(Record):
    """How a cell's process ended: its manifest, or its error.

    certain: the error is one that the same cell would meet again.
    """

    manifest: dict[str, Any] | None
    error: str = ""
    certain: bool = False
    seconds: float = 0.0


def run_cell(
    job: Job, log: Path, held: int, timeout: float, on_event: Callable[[dict[str, Any]], None]
) -> Outcome:
    """Run a cell and wait for it, passing its progress on.

    held: a descriptor that the worker keeps open (the run's lock). timeout: wall seconds.
    """
    reading, writing = os.pipe()
    start = time.monotonic()
    job = job.model_copy(update={"events": writing})
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "weightcut.study.worker"],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            pass_fds=(writing, held),
            start_new_session=True,
            env=isolated_environment(),
        )
    os.close(writing)
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(job.model_dump_json().encode())
        last = _follow(reading, start + timeout, on_event)
        late = time.monotonic() > start + timeout
        if not late:
            process.wait()
    finally:
        os.close(reading)
        _end(process)
    seconds = time.monotonic() - start
    if late:
        return Outcome(manifest=None, error=f"timed out after {timeout:.0f} s", seconds=seconds)
    if process.returncode == 0 and "manifest" in last:
        return Outcome(manifest=last["manifest"], seconds=seconds)
    return Outcome(
        manifest=None,
        error=last.get("error") or _died(process.returncode, log),
        certain=last.get("certain", False),
        seconds=seconds,
    )


def _follow(
    reading: int, deadline: float, on_event: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Pass events on until the worker closes its end; return its last manifest or error."""
    last: dict[str, Any] = {}
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            data = os.read(reading, 65_536)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if "manifest" in event or "error" in event:
                    last = event
                else:
                    on_event(event)
    return last


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the worker and all of its group, politely at first."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _died(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed (signal 9): most often the system ran out of memory"
    if code < 0:
        return f"the process died of signal {-code} ({signal.Signals(-code).name})"
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"the process ended with code {code}: {lines[-1] if lines else 'no output'}"
