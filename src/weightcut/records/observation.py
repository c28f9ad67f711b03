"""Raw observations: what the store keeps, one per finished sample, window, request or reading."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from weightcut.records.base import Record

Stage = Literal["build", "task", "profile"]
CellState = Literal["pending", "running", "done", "failed", "skipped"]


class CellKey(Record):
    """One cell of a study: a variant, and what is done with it."""

    variant: str
    stage: Stage
    task: str = Field("", description="task name for stage 'task', else empty")

    def __str__(self) -> str:
        return f"{self.variant}/{self.task or self.stage}"


class Observation(Record):
    """One measured thing in one cell.

    Generation tasks: sample is the task's sample id, repeat counts several answers to it; values
    hold the scores (`passed`, `parses`, `codebleu`, `degenerate`, `token_limit`, `repetition`,
    `tokens`, ...), detail the answer (`text`, `code`, `finish_reason`, `output`).
    Likelihood tasks: sample is the window's number; values hold the sums `nll` (nats), `tokens`,
    `bytes`, and against the baseline `kl` (nats), `agree` (positions).
    Profiles: see weightcut.profiling.
    """

    sample: str
    repeat: int = 0
    values: dict[str, float]
    detail: dict[str, Any] = {}


class Cell(Record):
    """What the store knows of a cell: its state, its manifest, its error."""

    key: CellKey
    state: CellState
    attempts: int = 0
    error: str = ""
    reason: str = Field("", description="why it was skipped")
    seconds: float = 0.0
    manifest: dict[str, Any] = Field(
        {}, description="artifact, engine options, versions, digests, peak memory of the cell"
    )
