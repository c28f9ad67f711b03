"""The sandbox of this process: as many fork servers as it has cores, started when first needed."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from functools import cache

from weightcut.errors import UsageError
from weightcut.records import ExecutionResult
from weightcut.sandbox.capabilities import protections
from weightcut.sandbox.worker import Worker

MIN_MEMORY = 64 << 20
"""Bytes of address space below which an interpreter cannot work."""
_LEAST_IDLE = 2.0


class Sandbox:
    """Runs untrusted programs, up to `workers` at a time; safe to use from several threads.

    A context manager; `close` ends the fork servers.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._protections = protections()
        self._owner = os.getpid()
        self._free = threading.BoundedSemaphore(workers or len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._started = 0
        self._closed = False

    def run_program(
        self, source: str | bytes, *, timeout: float = 5, memory: int = 512 << 20
    ) -> ExecutionResult:
        """Run one program: `timeout` CPU seconds, `memory` bytes."""
        return self._run({"program": source}, timeout, memory)

    def run_tests(
        self, solution: str, test: str, *, timeout: float = 5, memory: int = 512 << 20
    ) -> ExecutionResult:
        """Run a test against a solution, each in a process of its own.

        The limits hold for the two together (CPU) and for each (memory, bytes).
        """
        return self._run({"solution": solution, "test": test}, timeout, memory)

    def close(self) -> None:
        """End the fork servers; a run that goes on ends its own when it is done.

        Does nothing in a process that was forked from the one that started them.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closed = True
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self, sources: Mapping[str, str | bytes], timeout: float, memory: int
    ) -> ExecutionResult:
        if memory < MIN_MEMORY:
            raise UsageError(f"memory: {memory} bytes are too few", cure=f"at least {MIN_MEMORY}")
        with self._free:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
                self._started += worker is None
                number = self._started
            worker = worker or Worker(self._protections, number)
            try:
                result = worker.run(sources, timeout, memory, max(2 * timeout, _LEAST_IDLE))
            except BaseException:
                worker.close()
                raise
            with self._lock:
                if not self._closed:
                    self._idle.append(worker)
                    return result
            worker.close()
            return result


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
