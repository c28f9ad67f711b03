"""Continuous batching for engines that give logits: a prompt at a time, then all rows together."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weightcut.engines.answers import Answer, choose, log_softmax
from weightcut.engines.engine import Progress
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import Completion, Request

Row = npt.NDArray[np.float32]


class Runner(Protocol):
    """A model with room for `slots` sequences of `capacity` tokens each, none cached at first."""

    slots: int
    capacity: int

    def enter(self, slot: int, ids: Sequence[int]) -> Row:
        """Read a prompt into an empty slot; return the logits after it, float32 [vocabulary]."""
        ...

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Row:
        """Add a token to each of these slots; return the logits after it [slots, vocabulary]."""
        ...

    def leave(self, slot: int) -> None:
        """Forget what a slot holds."""
        ...


@dataclass
class _Seat:
    answer: Answer
    draw: Any
    told: int = 0


@dataclass
class SlotBatch:
    """Answers in the making on one runner: ended ones leave at once, waiting ones enter.

    positions: tokens that a sequence may have in all, None for any number. It is a `Live` batch of
    the engine contract too.
    """

    runner: Runner
    tokenizer: Tokenizer
    positions: int | None = None
    start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._waiting: deque[Answer] = deque()
        self._seats: dict[int, _Seat] = {}

    def submit(self, request: Request) -> None:
        """Take a request; UsageError where it can never fit."""
        if len(request.prompt_ids) + request.max_new_tokens > self.runner.capacity:
            wanted = len(request.prompt_ids) + request.max_new_tokens
            raise UsageError(f"{wanted} tokens do not fit a slot of {self.runner.capacity} tokens")
        self._waiting.append(Answer(_known(request)))

    def cancel(self, request_id: str) -> None:
        """Forget a request, whatever its state."""
        self._waiting = deque(a for a in self._waiting if a.request.id != request_id)
        for slot, seat in list(self._seats.items()):
            if seat.answer.request.id == request_id:
                self._free(slot)

    def busy(self) -> bool:
        """Return whether a step has something to do."""
        return bool(self._waiting or self._seats)

    def step(self) -> Sequence[Progress]:
        """Advance all answers by about a token."""
        seen = [seat for seat in self.advance() if len(seat.answer.ids) > seat.told]
        return [_progress(seat) for seat in seen]

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, longest prompt first; yield each as it ends."""
        fitting, refused = within([_known(one) for one in requests], self.positions)
        yield from (Answer(one).completion(self.tokenizer) for one in refused)
        fitting.sort(key=lambda request: -len(request.prompt_ids))
        self._waiting.extend(Answer(request) for request in fitting)
        try:
            while self.busy():
                for seat in self.advance():
                    if seat.answer.reason:
                        yield seat.answer.completion(self.tokenizer)
        finally:
            self._waiting.clear()
            for slot in list(self._seats):
                self._free(slot)

    def advance(self) -> list[_Seat]:
        """Let one prompt in, or give every row its next token; return the seats that moved."""
        if self._waiting and len(self._seats) < self.runner.slots:
            slot = next(s for s in range(self.runner.slots) if s not in self._seats)
            answer = self._waiting.popleft()
            draw = np.random.default_rng(answer.request.seed)
            self._seats[slot] = _Seat(answer, draw)
            logits = self.runner.enter(slot, answer.request.prompt_ids)[None]
            return self._extend([slot], logits)
        slots = sorted(self._seats)
        if not slots:
            return []
        tokens = [self._seats[slot].answer.ids[-1] for slot in slots]
        return self._extend(slots, self.runner.step(slots, tokens))

    def _extend(self, slots: Sequence[int], logits: Row) -> list[_Seat]:
        values = log_softmax(logits, np.empty(logits.shape, np.float32))
        now = time.perf_counter() - self.start
        moved = [self._seats[slot] for slot in slots]
        for slot, seat, row in zip(slots, moved, values, strict=True):
            request = seat.answer.request
            token = choose(row, request.temperature, request.top_p, seat.draw)
            seat.answer.add(token, now, float(row[token]), self.tokenizer)
            if seat.answer.reason:
                self._free(slot)
        return moved

    def _free(self, slot: int) -> None:
        del self._seats[slot]
        self.runner.leave(slot)


def needed(requests: Sequence[Request], positions: int | None) -> int:
    """Return the tokens that the longest of the requests may come to have."""
    found = [len(r.prompt_ids) + max(0, _room(r, positions)) for r in requests]
    return max(found, default=1)


def within(
    requests: Sequence[Request], positions: int | None
) -> tuple[list[Request], list[Request]]:
    """Return the requests, their answers cut at `positions`, and those whose prompts fill them."""
    fitting, refused = list[Request](), list[Request]()
    for request in requests:
        room = _room(request, positions)
        if room < 1:
            refused.append(request)
        else:
            fitting.append(request.model_copy(update={"max_new_tokens": room}))
    return fitting, refused


def positions_of(folder: Path) -> int | None:
    """Return how many positions the model of a folder has, None where its config does not say."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        found = config.get("max_position_embeddings", config.get("n_positions"))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BrokenInput(f"cannot be read: {error}", place=str(path)) from error
    return found if isinstance(found, int) else None


def _room(request: Request, positions: int | None) -> int:
    """Return how many tokens an answer may have; below 1 where the prompt fills all positions."""
    if positions is None:
        return request.max_new_tokens
    return min(request.max_new_tokens, positions - len(request.prompt_ids))


def _known(request: Request) -> Request:
    if not request.prompt_ids:
        raise UsageError(f"the prompt of request {request.id!r} has no tokens")
    return request


def _progress(seat: _Seat) -> Progress:
    answer = seat.answer
    new = range(seat.told, len(answer.ids))
    tokens = tuple((answer.ids[at], answer.logprobs[at]) for at in new)
    seat.told = len(answer.ids)
    mean = float(np.mean(answer.logprobs)) if answer.reason else None
    return Progress(answer.request.id, tokens, answer.reason, mean)
