"""Continuous batching for transformers models: ended rows leave at once, waiting ones enter."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

from weightcut.engines.engine import CACHE_SHARE
from weightcut.engines.row_cache import RowCache, token_bytes
from weightcut.errors import UsageError
from weightcut.records import Completion, FinishReason, Request

Decode = Callable[[Sequence[int], Sequence[int]], str]  # what ids say that follow others
_ALIKE = 4  # times as long as the shortest a batch's longest sequence stays below
T = TypeVar("T")


@dataclass
class Row:
    """A request that is being answered. room: tokens that its answer may have."""

    request: Request
    room: int
    generator: Any = None
    ids: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    logprob: float = 0.0

    def finish_reason(self, decode: Decode) -> FinishReason | None:
        """Return why the answer ends with its last token, or None where it goes on."""
        request = self.request
        if not request.ignore_stop:
            if self.ids[-1] in request.stop_ids:
                return "stop"
            if request.stop and self._says_stop(decode):
                return "stop"
        return "length" if len(self.ids) >= self.room else None

    def completion(self, reason: FinishReason, decode: Decode) -> Completion:
        """Return the finished answer; its ids hold what ended it, its text does not."""
        request, ids = self.request, self.ids
        stopped = reason == "stop" and ids[-1] in request.stop_ids
        text = decode(request.prompt_ids, ids[:-1] if stopped else ids)
        if not request.ignore_stop:
            text = text[
                : min((at for s in request.stop if (at := text.find(s)) >= 0), default=None)
            ]
        return Completion(
            request_id=request.id,
            text=text,
            token_ids=tuple(ids),
            token_times=tuple(self.times),
            finish_reason=reason,
            mean_logprob=self.logprob / len(ids) if ids else None,
        )

    def _says_stop(self, decode: Decode) -> bool:
        # A token stands for at least a byte, so a stop text ends within its own bytes of tokens.
        longest = max(len(stop.encode()) for stop in self.request.stop)
        tail = decode(self.request.prompt_ids, self.ids[-longest - 4 :])
        return any(stop in tail for stop in self.request.stop)


class Batch:
    """Up to `slots` answers in the making, on one model.

    model: a causal LM of transformers, in evaluation mode. decode: a prompt's ids and those that
    follow it to the text of the latter. positions: tokens that a sequence may have in all.
    """

    def __init__(self, model: Any, decode: Decode, slots: int, positions: int | None) -> None:
        self._model = model
        self._decode = decode
        self._slots = slots
        self._positions = positions
        known = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in known
        self._options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def run(self, requests: Sequence[Request], begin: float) -> Iterator[Completion]:
        """Answer all requests, longest prompt first; `begin` is when they were submitted."""
        waiting = []
        for request in requests:
            row = self._row(request)
            if row.room > 0:
                waiting.append(row)
            else:
                yield row.completion("aborted", self._decode)
        for rows in of_like_length(waiting, lambda row: len(row.request.prompt_ids) + row.room):
            yield from self._run(rows, begin)

    def _run(self, waiting: list[Row], begin: float) -> Iterator[Completion]:
        # The longest prompt last, since rows are taken from the end.
        waiting.sort(key=lambda row: len(row.request.prompt_ids))
        slots, cache = self._cache(waiting)
        rows: list[Row] = []
        while waiting or rows:
            while waiting and len(rows) < slots:
                yield from self._enter(waiting.pop(), rows, cache, begin)
            if rows:
                yield from self._step(rows, cache, begin)

    def _row(self, request: Request) -> Row:
        import torch

        if not request.prompt_ids:
            raise UsageError(f"the prompt of request {request.id!r} has no tokens")
        room = request.max_new_tokens
        if self._positions is not None:
            room = min(room, self._positions - len(request.prompt_ids))
        generator = None
        if request.temperature > 0:
            generator = torch.Generator(self._model.device).manual_seed(request.seed)
        return Row(request, room, generator)

    def _cache(self, rows: Sequence[Row]) -> tuple[int, RowCache]:
        capacity = max(len(row.request.prompt_ids) + row.room for row in rows)
        slots = min(self._slots, len(rows))
        if slots < len(rows):
            # Columns move to the front each time the buffers are full; let that be seldom.
            capacity += capacity // 4
        slots = min(slots, self._room(capacity))
        return slots, RowCache(self._model.config, slots, capacity)

    def _room(self, capacity: int) -> int:
        """Return how many rows of `capacity` columns the free memory has room for, at least one."""
        row = token_bytes(self._model.config, self._model.dtype.itemsize) * capacity
        return max(1, int(free_memory(self._model.device) * CACHE_SHARE / row))

    def _enter(self, row: Row, rows: list[Row], cache: RowCache, begin: float) -> list[Completion]:
        """Read a prompt into a new row and choose its first token; return it if that ends it."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([row.request.prompt_ids], device=self._model.device)
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
            cache.enter(ids.shape[1])
            logits = self._forward(ids, positions, None, cache)
            cache.entered()
            rows.append(row)
            return self._extend(rows, len(rows) - 1, logits, cache, begin)

    def _step(self, rows: list[Row], cache: RowCache, begin: float) -> list[Completion]:
        """Feed each row's last token and choose its next one; return the answers that end."""
        import torch

        device = self._model.device
        with torch.inference_mode():
            cache.make_room()
            starts = torch.tensor(cache.starts, device=device)[:, None]
            mask = None
            if any(cache.starts):
                mask = torch.arange(cache.length + 1, device=device)[None] >= starts
            ids = torch.tensor([[row.ids[-1]] for row in rows], device=device)
            logits = self._forward(ids, cache.length - starts, mask, cache)
            cache.advance()
            return self._extend(rows, 0, logits, cache, begin)

    def _forward(self, ids: Any, positions: Any, mask: Any, cache: RowCache) -> Any:
        """Return the logits that follow the last ids, float32 [rows, vocabulary]."""
        options = dict(self._options)
        if self._takes_positions:
            options["position_ids"] = positions
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache.view,
            use_cache=True,
            **options,
        )
        return out.logits[:, -1].float()

    def _extend(
        self, rows: list[Row], first: int, logits: Any, cache: RowCache, begin: float
    ) -> list[Completion]:
        """Give the rows from `first` on their next token; take out and return those that end."""
        chosen, logprobs = choose(logits, rows[first:])
        now = time.perf_counter() - begin
        ended: list[tuple[int, FinishReason]] = []
        for index, token, logprob in zip(range(first, len(rows)), chosen, logprobs, strict=True):
            row = rows[index]
            row.ids.append(token)
            row.times.append(now)
            row.logprob += logprob
            if reason := row.finish_reason(self._decode):
                ended.append((index, reason))
        done = [rows[index].completion(reason, self._decode) for index, reason in ended]
        for index, _ in reversed(ended):
            cache.remove(index)
            rows[index] = rows[-1]
            rows.pop()
        return done


def of_like_length(items: Iterable[T], length: Callable[[T], int]) -> list[list[T]]:
    """Return batches, the longest items first; each item is over a quarter of its batch's longest.

    Each row of a batch takes the room of the longest: one outlier would cost all others theirs.
    """
    batches: list[list[T]] = []
    longest = 0
    for item in sorted(items, key=length, reverse=True):
        if not batches or length(item) * _ALIKE <= longest:
            batches.append([])
            longest = length(item)
        batches[-1].append(item)
    return batches


def free_memory(device: Any) -> int:
    """Return the bytes that are free where the model lies."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available


def choose(logits: Any, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """Return each row's next token and its log-probability at temperature 1.

    logits: float32 [rows, vocabulary]. Greedy where the temperature is 0, else nucleus sampling
    (Holtzman et al. 2020) with the request's own generator.
    """
    chosen = logits.argmax(-1)
    for index, row in enumerate(rows):
        if row.request.temperature > 0:
            chosen[index] = _sample(logits[index], row)
    picked = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
    return chosen.tolist(), picked.tolist()


def _sample(logits: Any, row: Row) -> Any:
    probabilities, order = (logits / row.request.temperature).softmax(-1).sort(descending=True)
    before = probabilities.cumsum(-1) - probabilities
    probabilities[before >= row.request.top_p] = 0
    return order[probabilities.multinomial(1, generator=row.generator)[0]]
