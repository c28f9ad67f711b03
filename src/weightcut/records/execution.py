"""What came of running untrusted code."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weightcut.records.base import Record

Status = Literal["passed", "failed", "timed-out", "out-of-memory", "blocked"]


class ExecutionResult(Record):
    """The outcome of one program run in the sandbox.

    `passed` means that it ran to its last line without an exception; a program that leaves early,
    by whatever door, has failed.
    """

    status: Status
    output: str = Field("", description="the end of what it printed, and its error if any")
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
