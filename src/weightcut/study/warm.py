"""A process that has imported what a kind of cell needs, and forks one for each cell.

`python -m weightcut.study.warm EVENTS PARENT MODULE...`. It reads one Order a line from stdin, and
tells how each cell's process ended as `{"exit": code}` on the descriptor EVENTS. Importing torch
and transformers takes seconds of CPU time, most of a short cell's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

from weightcut.records import Record
from weightcut.settings import silence_telemetry
from weightcut.study.worker import Job, die_with, run

# What a part imports -> what is worth importing before the fork. It starts no threads but those of
# BLAS and of allocators, which are made for forks.
MODULES = {
    "transformers": (
        "transformers.generation",
        "transformers.modeling_utils",
        "transformers.models.auto.modeling_auto",
    ),
    "openvino": ("openvino", "openvino_genai"),
}
_PATIENCE = 3.0  # seconds that a cell has to end by itself


class Order(Record):
    """What is asked of the process: a cell, and the file that its output goes to."""

    job: Job
    log: Path


class _Warm:
    def __init__(self, events: int) -> None:
        self._events = events
        self._child = 0
        signal.signal(signal.SIGTERM, self._stop)

    def serve(self) -> None:
        """Run one cell after the other until stdin is closed."""
        for line in sys.stdin.buffer:
            order = Order.model_validate_json(line)
            parent = os.getpid()
            self._child = os.fork()
            if not self._child:
                die_with(parent)
                self._become(order)
            with suppress(OSError):  # the child does the same: whoever comes first
                os.setpgid(self._child, self._child)
            _, status = os.waitpid(self._child, 0)
            with suppress(ProcessLookupError):  # what it left behind
                os.killpg(self._child, signal.SIGKILL)
            self._child = 0
            # A line of its own, even where a killed cell has left half of one.
            event = {"exit": os.waitstatus_to_exitcode(status)}
            os.write(self._events, b"\n" + json.dumps(event).encode() + b"\n")

    def _become(self, order: Order) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with suppress(OSError):
            os.setpgid(0, 0)
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        sys.exit(run(order.job, self._events))

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """End with the cell that is running and all that it started, politely at first."""
        if self._child:
            with suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGTERM)
            end = time.monotonic() + _PATIENCE
            with suppress(ChildProcessError):
                while time.monotonic() < end and os.waitpid(self._child, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
            with suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGKILL)
        os._exit(1)  # at once: there is nothing to tidy up, and torch would take its time


def main() -> None:
    """Import the modules and wait for orders."""
    events, parent, *modules = sys.argv[1:]
    die_with(int(parent))
    silence_telemetry()
    for module in modules:
        with suppress(ImportError):  # a cell that needs it says so itself
            import_module(module)
    _Warm(int(events)).serve()


if __name__ == "__main__":
    main()
