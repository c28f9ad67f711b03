"""The warm Java compiler: one confined process that compiles untrusted sources in memory."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from weightcut.errors import NotHere
from weightcut.records import ExecutionResult
from weightcut.sandbox.bubblewrap import wrap
from weightcut.sandbox.capabilities import FIRST_USER, Protections
from weightcut.sandbox.scratch import empty
from weightcut.sandbox.tool import ENVIRONMENT, Tool, interpreter, role

_CPU_SECONDS, _IDLE_SECONDS = 15.0, 60.0
_HEAP, _MEMORY = 256 << 20, 768 << 20
_MAX_ANSWER = 64 << 20
_EXIT = "-XX:+ExitOnOutOfMemoryError"
_NO_MEMORY = (3, 78)  # exit codes: of this option, of CompileServer.java


class CompileServer:
    """Started when first needed, and again after a compilation that it did not survive."""

    def __init__(self, command: list[str], tool: Tool, scratch: Path, walls: Protections) -> None:
        self._command, self._tool, self._walls = command, tool, walls
        self._cpu = _cpu_below if walls.bubblewrap else _own_cpu
        self._scratch = scratch
        self._scratch.mkdir(0o700)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._proven = False

    def compile(self, sources: Mapping[str, bytes]) -> bytes | ExecutionResult:
        """Return the program (see CompileServer.java), or why there is none; one call at a time."""
        process = self._process or self._start()
        before, started = self._cpu(process), time.perf_counter()
        with _Guard(process, self._cpu) as guard:
            answer = _exchange(process, sources)
        if answer is None:
            return self._failure(process, stopped=guard.stopped)
        self._proven = True
        good, body = answer
        if good:
            return body
        return ExecutionResult(
            status="failed",
            output=body.decode("utf-8", errors="replace"),
            cpu_seconds=max(0.0, self._cpu(process) - before),
            wall_seconds=time.perf_counter() - started,
        )

    def close(self) -> None:
        """End the server and remove what it may have written."""
        self._end()
        if self._scratch.exists():
            empty(self._scratch)

    def _start(self) -> subprocess.Popen[bytes]:
        user = None
        if self._walls.user:
            # Unique on this machine: the workers' numbers end at 2 (see worker.py).
            user = FIRST_USER + 4 * os.getpid() + 3
            os.chown(self._scratch, user, user)
        settings = {
            "scratch": str(self._scratch),
            "user": user,
            "files": self._walls.landlock,
            "filter": self._walls.seccomp,
            "memory": _MEMORY,
            "command": [self._command[0], f"-Xmx{_HEAP}", _EXIT, *self._command[1:]],
            **role("tool", self._tool),
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in _end)
        command = interpreter("launch", json.dumps(settings))
        if self._walls.bubblewrap:
            command = wrap(command, self._scratch, (*self._tool.readable, *self._tool.executable))
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        return self._process

    def _failure(self, process: subprocess.Popen[bytes], *, stopped: bool) -> ExecutionResult:
        """Say what ended the server in a compilation; the next one gets a new server."""
        words = self._end()
        if stopped:
            note = f"[stopped: compiling took more than {_CPU_SECONDS:g} s of CPU time]"
            return ExecutionResult(status="timed-out", output=note, cpu_seconds=_CPU_SECONDS)
        if process.returncode in _NO_MEMORY:
            return ExecutionResult(status="out-of-memory", output="[while compiling]")
        if not self._proven:
            raise NotHere(f"Java's compile server did not start: {words}")
        return ExecutionResult(status="failed", output=f"the compiler ended: {words}")

    def _end(self) -> str:
        """End the process if there is one; return its last words."""
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is None or errors is None:
            return ""
        _kill(process)
        process.communicate()
        with errors:
            errors.seek(0)
            return errors.read().decode("utf-8", errors="replace").strip()[:2000]


class _Guard:
    """Kills a process that takes too much CPU time, or waits for nothing, while it is entered."""

    def __init__(
        self, process: subprocess.Popen[bytes], cpu: Callable[[subprocess.Popen[bytes]], float]
    ) -> None:
        self._process, self._cpu, self.stopped = process, cpu, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        before, started = self._cpu(self._process), time.monotonic()
        patience = _CPU_SECONDS
        while not self._over.wait(patience):
            used = self._cpu(self._process) - before
            waited = time.monotonic() - started
            if used >= _CPU_SECONDS or waited >= _IDLE_SECONDS + 8 * used:
                self.stopped = True
                _kill(self._process)
                return
            patience = max(0.1, _CPU_SECONDS - used)

    def __enter__(self) -> _Guard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _exchange(
    process: subprocess.Popen[bytes], sources: Mapping[str, bytes]
) -> tuple[bool, bytes] | None:
    """Send a request and wait for its answer; None if the process ended or speaks nonsense."""
    assert process.stdin is not None
    assert process.stdout is not None
    parts = [struct.pack(">i", len(sources))]
    for name, text in sources.items():
        label = name.encode()
        parts += [struct.pack(">H", len(label)), label, struct.pack(">i", len(text)), text]
    try:
        process.stdin.write(b"".join(parts))
        process.stdin.flush()
    except BrokenPipeError:
        return None
    head = process.stdout.read(5)
    if len(head) < 5:
        return None
    good, length = struct.unpack(">bi", head)
    if not 0 <= length <= _MAX_ANSWER:
        return None
    body = process.stdout.read(length)
    return (bool(good), body) if len(body) == length else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all of its session: bubblewrap's end alone is not that of its inside."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _own_cpu(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds that a live process has used (see clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime((~process.pid << 3) | 2)
    except OSError:
        return 0.0


def _cpu_below(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU seconds of a process and all below it: bubblewrap's own are next to none."""
    total = 0.0
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        for one in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
    return total
