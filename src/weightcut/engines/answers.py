"""Answers in the making, and the choice of their next tokens, for engines that give logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.models.tokenizer import Tokenizer
from weightcut.records import Completion, FinishReason, Request


@dataclass
class Answer:
    """One request being answered."""

    request: Request
    handle: Any = None
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    reason: FinishReason | None = None

    def add(self, token: int, seconds: float, logprob: float, tokenizer: Tokenizer) -> None:
        """Take the next token, and end where the request says so; tokens after the end are lost."""
        if self.reason:
            return
        request = self.request
        self.ids.append(token)
        self.times.append(seconds)
        self.logprobs.append(logprob)
        if not request.ignore_stop and (token in request.stop_ids or self._stop_text(tokenizer)):
            self.reason = "stop"
        elif len(self.ids) >= request.max_new_tokens:
            self.reason = "length"

    def completion(self, tokenizer: Tokenizer) -> Completion:
        """Return what came of it; what ended the answer is among the ids, not in the text."""
        ids, request = self.ids, self.request
        ended = self.reason == "stop" and ids[-1] in request.stop_ids
        text = tokenizer.decode_after(request.prompt_ids, ids[:-1] if ended else ids)
        if not request.ignore_stop:
            cuts = [at for stop in request.stop if (at := text.find(stop)) >= 0]
            text = text[: min(cuts)] if cuts else text
        return Completion(
            request_id=request.id,
            text=text,
            token_ids=tuple(ids),
            token_times=tuple(self.times),
            finish_reason=self.reason or "aborted",
            mean_logprob=float(np.mean(self.logprobs)) if self.logprobs else None,
        )

    def _stop_text(self, tokenizer: Tokenizer) -> bool:
        if not self.request.stop:
            return False
        # Every token stands for at least one byte, so that this tail holds any stop text.
        tail = self.ids[-max(len(stop.encode()) for stop in self.request.stop) - 8 :]
        text = tokenizer.decode_after(self.request.prompt_ids, tail)
        return any(stop in text for stop in self.request.stop)


def log_softmax(
    logits: npt.NDArray[np.float32], out: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Write natural-log probabilities over the last axis into `out`, and return it."""
    np.subtract(logits, logits.max(axis=-1, keepdims=True), out=out)
    out -= np.log(np.exp(out).sum(axis=-1, keepdims=True))
    return out


def choose(
    logprobs: npt.NDArray[np.float32], temperature: float, top_p: float, draw: np.random.Generator
) -> int:
    """Return a token: the likeliest at temperature 0, else drawn from the nucleus `top_p`."""
    if temperature == 0:
        return int(logprobs.argmax())
    scaled = logprobs.astype(np.float64) / temperature
    order = np.argsort(-scaled)
    chances = np.exp(scaled[order] - scaled[order[0]])
    chances /= chances.sum()
    kept = int(np.searchsorted(np.cumsum(chances), top_p)) + 1
    chances = chances[:kept] / chances[:kept].sum()
    return int(order[draw.choice(len(chances), p=chances)])
