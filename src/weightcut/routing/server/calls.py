"""What goes to an upstream and what comes back, whatever the protocol in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that is wanted: a chat (`messages`) or a text to go on with (`prompt`).

    logprobs: how many alternatives to each token; None for no log-probabilities at all. sofar: the
    beginning of the answer that another upstream has already given; max_tokens counts from there.
    wants_mean: the mean log-probability of the answer is of use, where it can be had.
    """

    id: str
    messages: tuple[dict[str, str], ...] = ()
    prompt: str = ""
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    logprobs: int | None = None
    sofar: str = ""
    wants_mean: bool = False

    @property
    def text(self) -> str:
        """The prompt as the router reads it, and as `weightcut router table` writes it."""
        if not self.messages:
            return self.prompt
        return "\n\n".join(message["content"] for message in self.messages)

    @property
    def size(self) -> int:
        """Bytes of the whole prompt, the beginning of its answer included."""
        said = (self.prompt, self.sofar, *(message["content"] for message in self.messages))
        return sum(len(text.encode()) for text in said)


class TokenLogprob(NamedTuple):
    """A token of the answer: its text, and its natural-log probability and that of others."""

    text: str
    logprob: float
    others: tuple[tuple[str, float], ...] = ()


class Chunk(NamedTuple):
    """A piece of an answer.

    made: tokens that it stands for. finish: on the last piece. prompt_tokens, completion_tokens:
    on the last piece, where the upstream counts them. mean_logprob: likewise, over the answer.
    """

    text: str = ""
    made: int = 0
    tokens: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    mean_logprob: float | None = None
