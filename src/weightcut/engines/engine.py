"""The contract of an engine: it opens an artifact as a session that answers and predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from weightcut.records import (
    Artifact,
    Completion,
    FinishReason,
    Format,
    LogProbs,
    Request,
    TokenBlocks,
)

CACHE_SHARE = 0.5
"""What keys and values may take of the free memory: where it is less, fewer answers at a time."""


@dataclass(frozen=True)
class Cost:
    """Rough costs for predictions, measured on 2 cores with AVX512 at 16 bit.

    single_s, batched_s, prefill_s: seconds for each weight and token when decoding one sequence,
    when decoding 32 at once, and when reading a prompt. start_s: to import and open.
    base_memory: resident bytes beside the weights. weights_copies: times the weights lie in memory.
    """

    single_s: float
    batched_s: float
    prefill_s: float
    start_s: float
    base_memory: int
    weights_copies: float = 1.0


class Session(Protocol):
    """An opened model. Close it, or use it as a context manager, to give its memory back."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once; yield each as soon as it ends, in any order.

        No prefix cache: equal prompts cost the same as different ones.
        """
        ...

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what readers of a result must know: versions, precision, cache type, threads."""
        ...

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        ...


class Closing(ABC):
    """A session that is closed where its block is left, whatever has happened in it."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step of a live batch brought to one answer.

    tokens: new ids with their log-probabilities (nats; None where the engine cannot tell), what
    ends the answer included. reason: why it has ended, None while it goes on. mean_logprob: with
    the reason.
    """

    request_id: str
    tokens: tuple[tuple[int, float | None], ...]
    reason: FinishReason | None = None
    mean_logprob: float | None = None


class Live(Protocol):
    """A batch that requests enter and leave while others are being answered; for one thread."""

    def submit(self, request: Request) -> None:
        """Take a request; UsageError where it can never fit."""
        ...

    def cancel(self, request_id: str) -> None:
        """Forget a request, whatever its state, and free what it holds."""
        ...

    def busy(self) -> bool:
        """Return whether a step has something to do."""
        ...

    def step(self) -> Sequence[Progress]:
        """Advance all answers by about a token."""
        ...


@runtime_checkable
class LiveSession(Protocol):
    """A session that can answer requests as they come."""

    def live(self, slots: int, tokens: int) -> Live | None:
        """Return a batch of so many answers at a time, and so many tokens; None if it cannot."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A runtime for models: a pydantic model of its options that can open artifacts."""

    kind: str
    accepts: ClassVar[frozenset[Format]]
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]
    exact: ClassVar[dict[str, Any]]
    cost: ClassVar[Cost]

    def open(self, artifact: Artifact) -> AbstractContextManager[Session]:
        """Load the artifact and return a session that is also a context manager."""
        ...
