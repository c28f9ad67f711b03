"""The sandbox of this process: as many fork servers as it has cores, started when first needed."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain

from weightcut.errors import UsageError
from weightcut.records import ExecutionResult
from weightcut.sandbox.capabilities import Kind, protections
from weightcut.sandbox.inside.watch import Limits
from weightcut.sandbox.languages import Language, Toolchain, toolchain
from weightcut.sandbox.tool import Tool
from weightcut.sandbox.worker import Kind as WorkerKind
from weightcut.sandbox.worker import Worker

MIN_MEMORY = 64 << 20
"""Bytes of address space below which an interpreter cannot work."""
MAX_MEMORY = 1 << 44
MAX_TIMEOUT = 86_400
_LEAST_IDLE = 2.0


class Sandbox:
    """Runs untrusted programs, up to `workers` at a time; safe to use from several threads.

    `kind` is "fork-server" or "bubblewrap"; None: what the settings say (`WEIGHTCUT_SANDBOX`).
    A context manager; `close` ends the fork servers.
    """

    def __init__(self, workers: int | None = None, kind: Kind | None = None) -> None:
        self._protections = protections(kind)
        self._owner = os.getpid()
        self._free = threading.BoundedSemaphore(workers or len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()
        self._idle: dict[str, list[Worker]] = {}
        self._started = 0
        self._closed = False
        self._toolchains: dict[Language, Toolchain] = {}

    def run_program(
        self,
        source: str | bytes,
        *,
        language: Language = "python",
        timeout: float = 5,
        memory: int = 512 << 20,
    ) -> ExecutionResult:
        """Run one program: `timeout` CPU seconds, `memory` bytes.

        A compiled language: one source file; the limits are those of the run and of its heap, and
        compiling has its own. NotHere where this machine lacks the language.
        """
        if language != "python":
            data = source if isinstance(source, bytes) else source.encode("utf-8", "replace")
            return self._run_compiled(language, data, timeout, memory)
        return self._run("program", {"program": source}, timeout, memory)

    def run_tests(
        self, solution: str, test: str, *, timeout: float = 5, memory: int = 512 << 20
    ) -> ExecutionResult:
        """Run a test against a solution, each in a process of its own.

        The limits hold for the two together (CPU) and for each (memory, bytes).
        """
        return self._run("tests", {"solution": solution, "test": test}, timeout, memory)

    def close(self) -> None:
        """End the fork servers; a run that goes on ends its own when it is done.

        Does nothing in a process that was forked from the one that started them.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closed = True
            workers, self._idle = [*chain(*self._idle.values())], {}
            toolchains, self._toolchains = [*self._toolchains.values()], {}
        for worker in workers:
            worker.close()
        for tools in toolchains:
            tools.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self,
        kind: WorkerKind,
        sources: Mapping[str, str | bytes],
        timeout: float,
        memory: int,
    ) -> ExecutionResult:
        _check(timeout, memory)
        with self._worker(kind) as worker:
            return worker.run(sources, _limits(timeout, memory))

    def _run_compiled(
        self, language: Language, source: bytes, timeout: float, memory: int
    ) -> ExecutionResult:
        _check(timeout, memory)
        with self._lock:
            if self._closed:
                raise ValueError("the sandbox is closed")
            tools = self._toolchains.get(language) or toolchain(language, self._protections)
            self._toolchains[language] = tools
        with self._worker("tool", tools.tool) as worker:
            started = time.perf_counter()
            compiled = tools.compile(worker, source)
            if isinstance(compiled, ExecutionResult):
                return compiled
            limits = _limits(timeout, memory + tools.overhead)
            result = worker.start(tools.command(memory), compiled, limits)
        return result.model_copy(update={"wall_seconds": time.perf_counter() - started})

    @contextmanager
    def _worker(self, kind: WorkerKind, tool: Tool | None = None) -> Iterator[Worker]:
        """Give an idle worker, or a new one; one that fails is closed, and so is a wrapped one."""
        shelf = tool.name if tool else kind
        with self._free:
            with self._lock:
                idle = self._idle.setdefault(shelf, [])
                worker = idle.pop() if idle else None
                self._started += worker is None
                number = self._started
            worker = worker or Worker(kind, self._protections, number, tool)
            try:
                yield worker
            except BaseException:
                worker.close()
                raise
            with self._lock:
                if not self._closed and not self._protections.bubblewrap:
                    self._idle[shelf].append(worker)
                    return
            worker.close()


def _check(timeout: float, memory: int) -> None:
    if not 0 < timeout <= MAX_TIMEOUT:
        raise UsageError(
            f"timeout: {timeout} CPU seconds cannot be", cure=f"more than 0, at most {MAX_TIMEOUT}"
        )
    if memory < MIN_MEMORY:
        raise UsageError(f"memory: {memory} bytes are too few", cure=f"at least {MIN_MEMORY}")
    if memory > MAX_MEMORY:
        raise UsageError(f"memory: {memory} bytes are too many", cure=f"at most {MAX_MEMORY}")


def _limits(timeout: float, memory: int) -> Limits:
    return Limits(timeout, memory, max(2 * timeout, _LEAST_IDLE))


def shared() -> Sandbox:
    """Return the sandbox of this process, closed when it ends."""
    with _starting:
        return _of_process(os.getpid())


@cache
def _of_process(_: int) -> Sandbox:
    sandbox = Sandbox()
    atexit.register(sandbox.close)
    return sandbox


_starting = threading.Lock()
