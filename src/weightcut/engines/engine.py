"""The contract of an engine: it opens an artifact as a session that answers and predicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, runtime_checkable

from weightcut.records import Artifact, Completion, Format, LogProbs, Request, TokenBlocks


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


@runtime_checkable
class Engine(Protocol):
    """A runtime for models: a pydantic model of its options that can open artifacts."""

    kind: str
    accepts: ClassVar[frozenset[Format]]
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    def open(self, artifact: Artifact) -> AbstractContextManager[Session]:
        """Load the artifact and return a session that is also a context manager."""
        ...
