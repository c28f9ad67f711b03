"""OpenVINO's continuous batch, open to requests that come and go."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from weightcut.engines.answers import Answer
from weightcut.engines.engine import Progress
from weightcut.engines.openvino_batching import PagedBatching
from weightcut.errors import UsageError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import Request


class OpenVINOLive:
    """Requests wait until slots and cache have room for all they may come to need."""

    def __init__(self, batching: PagedBatching, tokenizer: Tokenizer, tokens: int) -> None:
        self._batching, self._tokenizer = batching, tokenizer
        self.tokens = batching.reserve(tokens)
        self._waiting: deque[Answer] = deque()
        self._active: list[Answer] = []
        self._told: dict[str, int] = {}
        self._dropped = False
        self._start = time.perf_counter()

    def submit(self, request: Request) -> None:
        """Take a request; UsageError where it can never fit."""
        if not self._batching.fits(request):
            wanted = len(request.prompt_ids) + request.max_new_tokens
            raise UsageError(f"{wanted} tokens do not fit a cache of {self.tokens} tokens")
        self._waiting.append(Answer(request))

    def cancel(self, request_id: str) -> None:
        """Forget a request; the next step frees its cache."""
        gone = [answer for answer in self._active if answer.request.id == request_id]
        self._batching.drop(gone)
        self._dropped = self._dropped or bool(gone)
        self._active = [answer for answer in self._active if answer.request.id != request_id]
        self._waiting = deque(a for a in self._waiting if a.request.id != request_id)
        self._told.pop(request_id, None)

    def busy(self) -> bool:
        """Return whether a step has something to do."""
        return bool(self._active or self._waiting or self._dropped)

    def step(self) -> Sequence[Progress]:
        """Advance all answers by about a token."""
        if self._dropped:
            # What was given up is freed by a step, so nothing enters before it.
            self._dropped = False
        else:
            self._batching.admit(self._waiting, self._active)
        self._batching.advance(self._active, self._start)
        found = [self._progress(answer) for answer in self._active if self._news(answer)]
        self._active = [answer for answer in self._active if not answer.reason]
        return found

    def _news(self, answer: Answer) -> bool:
        return bool(answer.reason) or len(answer.ids) > self._told.get(answer.request.id, 0)

    def _progress(self, answer: Answer) -> Progress:
        id_ = answer.request.id
        told = self._told.get(id_, 0)
        self._told[id_] = len(answer.ids)
        tokens = tuple(zip(answer.ids[told:], answer.logprobs[told:], strict=True))
        if answer.reason is None:
            return Progress(id_, tokens)
        del self._told[id_]
        mean = float(np.mean(answer.logprobs)) if answer.logprobs else None
        return Progress(id_, tokens, answer.reason, mean)
