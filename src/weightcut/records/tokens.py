"""Blocks of token ids, and what a model says of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TokenBlocks:
    """Windows of text as token ids, all of one length.

    ids: int64 [blocks, length]. text_bytes: int64 [blocks], the UTF-8 bytes that the tokens after
    each window's first one stand for (what a perplexity over the window predicts).
    source: a phrase that says where the text is from. scored: bool [blocks, length], the tokens
    that a training loss counts; None counts all.
    """

    ids: npt.NDArray[np.int64]
    text_bytes: npt.NDArray[np.int64]
    source: str = ""
    scored: npt.NDArray[np.bool_] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the ids and their shape, and of what is scored where that is not all."""
        found = hashlib.sha256(repr(self.ids.shape).encode())
        found.update(np.ascontiguousarray(self.ids).tobytes())
        if self.scored is not None:
            found.update(np.packbits(self.scored).tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class LogProbs:
    """The model's next-token distributions over one window.

    block: index of the window in its TokenBlocks. values: float32 [length - 1, vocabulary],
    natural-log probabilities; row i predicts ids[i + 1] from ids[: i + 1].
    """

    block: int
    values: npt.NDArray[np.float32]
