"""The contract of an upstream, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

from weightcut.routing.server.calls import Call, Chunk

Why = Literal["timeout", "transport", "server", "overloaded"]


class UpstreamError(Exception):
    """The upstream did not answer: no fault of the request's, so another one may be asked.

    `overloaded` says nothing against its health.
    """

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why: Why = why


class PromptTooLong(Exception):
    """The prompt does not fit this upstream; another one may have more room."""


class CallRefused(Exception):
    """The upstream says that the request itself is wrong."""


class Upstream(Protocol):
    """Where a variant's answers come from.

    slots: answers that it makes at a time. continues: whether it can go on from `Call.sofar`.
    """

    name: str
    slots: int
    continues: bool

    def describe(self) -> str:
        """Return what it is, in a few words."""
        ...

    async def start(self) -> None:
        """Get ready; raises WeightcutError where that is impossible."""
        ...

    def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Yield the answer in pieces, the last one with a finish reason.

        Closing the iterator gives up the answer and frees what it held. Raises UpstreamError,
        PromptTooLong or CallRefused.
        """
        ...

    async def healthy(self) -> bool:
        """Return whether it answers at all, within a few seconds."""
        ...

    async def prompt_tokens(self, call: Call) -> int | None:
        """Return how many tokens the prompt has, or None where only the server knows."""
        ...

    async def close(self) -> None:
        """Give back what it holds; answers in the making are lost."""
        ...
