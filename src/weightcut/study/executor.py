"""Runs cells in processes of their own on this machine, and kills them whole."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from weightcut.hardware import probe
from weightcut.records import Record
from weightcut.settings import isolated_environment
from weightcut.study.warm import MODULES, Order
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


class Workers:
    """Runs cells one after the other, each in a process of its own.

    A cell's process is forked from one that has imported what cells of its kind need. held: a
    descriptor that all of them keep open (the run's lock). log: what they print between cells.
    """

    def __init__(self, held: int, log: Path) -> None:
        self._held = held
        self._log = log
        self._warm: dict[tuple[str, ...], _WarmProcess] = {}

    def run(
        self,
        job: Job,
        log: Path,
        timeout: float,
        on_event: Callable[[dict[str, Any]], None],
        packages: Iterable[str] = (),
    ) -> Outcome:
        """Run a cell and wait for it, passing its progress on.

        log: gets what the cell prints. timeout: wall seconds. packages: what the cell imports.
        """
        start = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        modules = _worth_importing(set(packages))
        warm = self._warm.get(modules) or _WarmProcess(modules, self._held, self._log)
        self._warm[modules] = warm
        try:
            last, late = warm.run(job, log, start + timeout, on_event)
        except BaseException:
            self._warm.pop(modules).close()
            raise
        if late or "exit" not in last:
            self._warm.pop(modules).close()
        seconds = time.monotonic() - start
        if late:
            return Outcome(manifest=None, error=f"timed out after {timeout:.0f} s", seconds=seconds)
        code = last.get("exit", warm.code)
        if code == 0 and "manifest" in last:
            return Outcome(manifest=last["manifest"], seconds=seconds)
        return Outcome(
            manifest=None,
            error=last.get("error") or _died(code, log if "exit" in last else self._log),
            certain=last.get("certain", False),
            seconds=seconds,
        )

    def close(self) -> None:
        """End the processes."""
        while self._warm:
            self._warm.popitem()[1].close()


class _WarmProcess:
    """A process that has imported `modules` and forks cells; one that fails is closed for good."""

    def __init__(self, modules: tuple[str, ...], held: int, log: Path) -> None:
        self._events, writing = os.pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "weightcut.study.warm", str(writing),
                 str(os.getpid()), *modules],
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                pass_fds=(writing, held),
                start_new_session=True,
                env=isolated_environment(),
            )  # fmt: skip
        os.close(writing)
        self._rest = b""

    @property
    def code(self) -> int:
        """The exit code of a process that was closed."""
        return self._process.returncode

    def run(
        self, job: Job, log: Path, deadline: float, on_event: Callable[[dict[str, Any]], None]
    ) -> tuple[dict[str, Any], bool]:
        """Return a cell's manifest or error, with its exit code, and whether time was up."""
        stdin = self._process.stdin
        assert stdin is not None
        order = Order(job=job, log=log)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(order.model_dump_json().encode() + b"\n")
            stdin.flush()
        last: dict[str, Any] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                data = os.read(self._events, 65_536)
                if not data:
                    return last, False
                *lines, self._rest = (self._rest + data).split(b"\n")
                for event in filter(None, map(_event, lines)):
                    if "exit" in event:
                        return last | event, False
                    if "manifest" in event or "error" in event:
                        last = event
                    else:
                        on_event(event)
        return last, True

    def close(self) -> None:
        """End the process and the cell that it runs, politely at first."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(self._events)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _worth_importing(packages: set[str]) -> tuple[str, ...]:
    """Return the modules that a cell's process is to find imported.

    None where there is a GPU: a process that has looked for one cannot share it with its children.
    """
    if probe.gpus():
        return ()
    return next((MODULES[name] for name in MODULES if name in packages), ())


def _event(line: bytes) -> dict[str, Any] | None:
    """Return an event, None for half a line that a killed cell has left."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def _died(code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed (signal 9): most often the system ran out of memory"
    if code < 0:
        return f"the process died of signal {-code} ({signal.Signals(-code).name})"
    lines = log.read_text(errors="replace").strip().splitlines()
    return f"the process ended with code {code}: {lines[-1] if lines else 'no output'}"
