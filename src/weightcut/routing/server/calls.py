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
    """A token of the answer: its text, and its natural-log probability and that of others.

    data: its bytes, None where they are those of the text. A token may be part of a character; its
    text then has `\\xf0` for each byte that is none.
    """

    text: str
    logprob: float
    others: tuple[TokenLogprob, ...] = ()
    data: bytes | None = None

    @classmethod
    def of(cls, data: bytes, logprob: float) -> TokenLogprob:
        """Return the token of these bytes."""
        return cls(data.decode("utf-8", "backslashreplace"), logprob, (), data)

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        return self.text.encode("utf-8", "replace") if self.data is None else self.data

    @property
    def begins(self) -> int:
        """How many characters begin in it."""
        return sum(byte & 0xC0 != 0x80 for byte in self.raw)

    @property
    def within(self) -> bool:
        """Whether it begins within a character."""
        return b"\x80" <= self.raw[:1] < b"\xc0"

    @property
    def partial(self) -> bool:
        """Whether it begins or ends within a character."""
        try:
            self.raw.decode()
        except UnicodeDecodeError:
            return True
        return False


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
