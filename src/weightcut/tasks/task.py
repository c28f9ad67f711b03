"""The two kinds of task: answers that are scored, and windows of text that are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

from weightcut.errors import BrokenInput
from weightcut.records import Completion, Sample, Scores, no_text


@runtime_checkable
class GenerationTask(Protocol):
    """A task whose samples are answered by the model and scored one by one.

    metrics: names of the scores that every answer gets; a class may name others, which depend on
    the settings or the machine, in a class variable `further_metrics`. chat_stop, plain_stop: texts
    that end an answer to the chat form of the prompt, and to the plain one.
    """

    kind: str
    mode: ClassVar[Literal["generation"]]
    metrics: ClassVar[tuple[str, ...]]
    chat_stop: ClassVar[tuple[str, ...]]
    plain_stop: ClassVar[tuple[str, ...]]
    samples: int
    temperature: float
    max_new_tokens: int

    def items(self) -> Sequence[Sample]:
        """Return the samples, in a fixed order, cut to the task's limit."""
        ...

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer, given to the chat form of the prompt or to the plain one.

        Safe to call from several threads. values holds the task's metrics, each from 0 to 1.
        """
        ...


@runtime_checkable
class LikelihoodTask(Protocol):
    """A task that asks how well the model predicts windows of held-out text."""

    kind: str
    mode: ClassVar[Literal["likelihood"]]
    limit: int
    length: int
    top_k: int

    def documents(self) -> Sequence[str]:
        """Return the held-out documents, disjoint from every calibration and training text."""
        ...


@runtime_checkable
class Demanding(Protocol):
    """A task of either kind that not every machine can run: a compiler, an installed benchmark."""

    def missing(self) -> str | None:
        """Return why it cannot run on this machine, None if it can; its cells are skipped then."""
        ...


@runtime_checkable
class Noted(Protocol):
    """A task of either kind that has something to say on its data; readers of results see it."""

    def notes(self) -> Sequence[str]:
        """Return sentences: what was left out, what was not measured here, and why."""
        ...


def samples_of(task: GenerationTask) -> Sequence[Sample]:
    """Return a task's samples; BrokenInput where two have one id, or where a text is none.

    Answers are kept, and scored, by the id of their sample.
    """
    samples, place = task.items(), f"task {task.kind}"
    seen = set[str]()
    for sample in samples:
        if sample.id in seen:
            raise BrokenInput(
                f"two samples have the id {sample.id!r}",
                place=place,
                cure="leave one of them out, or give it an id of its own",
            )
        seen.add(sample.id)
        if halves := no_text(sample.model_dump()):
            raise BrokenInput(f"the sample {sample.id!r}: {halves}", place=place)
    return samples
