"""The two kinds of task: answers that are scored, and windows of text that are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

from weightcut.records import Completion, Sample, Scores


@runtime_checkable
class GenerationTask(Protocol):
    """A task whose samples are answered by the model and scored one by one."""

    kind: str
    mode: ClassVar[Literal["generation"]]
    samples_per_task: int
    temperature: float
    max_new_tokens: int

    def samples(self) -> Sequence[Sample]:
        """Return the samples, in a fixed order, cut to the task's limit."""
        ...

    def score(self, sample: Sample, completion: Completion) -> Scores:
        """Score one answer; safe to call from several threads."""
        ...


@runtime_checkable
class LikelihoodTask(Protocol):
    """A task that asks how well the model predicts windows of held-out text."""

    kind: str
    mode: ClassVar[Literal["likelihood"]]
    windows: int
    length: int
    top_k: int

    def texts(self) -> Sequence[str]:
        """Return the held-out documents, disjoint from every calibration and training text."""
        ...
