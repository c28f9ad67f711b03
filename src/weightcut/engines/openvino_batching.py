"""Answering many requests at once: over paged attention, or over the model's own state."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from weightcut.engines.answers import Answer, choose, log_softmax
from weightcut.engines.engine import CACHE_SHARE
from weightcut.errors import BrokenInput, NotHere, WeightcutError
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import Completion, Request

_BLOCK = 32  # tokens in one block of the cache, on the CPU
_PREFILL_TOKENS = 2048  # in one step; longer prompts are read in pieces
_CANDIDATES = 1 << 16
_LOGITS = 1 << 28  # in one inference: 1 GiB of float32


class PagedBatching:
    """Continuous batching by openvino_genai; a sequence that ends makes room for the next one.

    cache_bytes: of keys and values, for each token. The cache has room for the `limit` longest of
    the requests at once, or for what a share of the free memory holds, so that no sequence is ever
    thrown out and read again; it never grows (a copy would need it twice).
    """

    def __init__(
        self,
        folder: Path,
        properties: Mapping[str, Any],
        tokenizer: Tokenizer,
        limit: int,
        cache_bytes: float,
    ) -> None:
        self._folder, self._properties = folder, dict(properties)
        self._tokenizer, self._limit = tokenizer, limit
        self._block_bytes = cache_bytes * _BLOCK
        self._numbers = itertools.count()
        self._pipeline: Any = None
        self._blocks = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield each answer as it ends."""
        self._make_room(requests)
        waiting = deque(Answer(request) for request in requests)
        active: list[Answer] = []
        start = time.perf_counter()
        try:
            while waiting or active:
                self.admit(waiting, active)
                self.advance(active, start)
                ended = [answer for answer in active if answer.reason]
                active = [answer for answer in active if not answer.reason]
                for answer in ended:
                    yield answer.completion(self._tokenizer)
        finally:
            self.drop(active)
            self.drain()

    def reserve(self, tokens: int) -> int:
        """Open the pipeline with a cache for so many tokens; return how many it really holds."""
        room = self._room()
        self._blocks = max(1, min(-(-tokens // _BLOCK), room))
        self._pipeline = self._open(self._blocks)
        return self._blocks * _BLOCK

    def fits(self, request: Request) -> bool:
        """Return whether the cache has room for the request once nothing else is in it."""
        return _blocks(request) <= self._blocks

    def admit(self, waiting: deque[Answer], active: list[Answer]) -> None:
        """Move answers from `waiting` to `active` while there is room for them."""
        free = self._blocks - sum(_blocks(answer.request) for answer in active)
        while waiting and len(active) < self._limit:
            free -= _blocks(waiting[0].request)
            if free < 0:
                return
            active.append(self._submit(waiting.popleft()))

    def advance(self, active: Sequence[Answer], start: float) -> None:
        """Make one step, and give the answers their new tokens; `start` is when times begin."""
        self._step()
        now = time.perf_counter() - start
        for answer in active:
            self._read(answer, now)

    def drop(self, answers: Sequence[Answer]) -> None:
        """Give up answers; the next step frees what they hold."""
        for answer in answers:
            answer.handle.cancel()

    def drain(self) -> None:
        """Step until nothing is in the making."""
        while self._pipeline is not None and self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def _make_room(self, requests: Sequence[Request]) -> None:
        """Open the pipeline with a cache for these requests, unless it is open with such a one."""
        needs = sorted((_blocks(request) for request in requests), reverse=True)[: self._limit]
        if sum(needs) <= self._blocks:
            return
        self._pipeline = None  # before memory is counted and taken again
        room = self._room()
        if needs[0] > room:
            raise NotHere(
                f"a sequence of {needs[0] * _BLOCK} tokens needs "
                f"{needs[0] * self._block_bytes / 1e9:.1f} GB of key-value cache, more than this "
                "machine has to spare"
            )
        self._blocks = min(sum(needs), room)
        self._pipeline = self._open(self._blocks)

    def _room(self) -> int:
        """Return the blocks that a share of the free memory holds."""
        return int(psutil.virtual_memory().available * CACHE_SHARE / self._block_bytes)

    def _open(self, blocks: int) -> Any:
        import openvino_genai as genai

        scheduler = genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False
        scheduler.max_num_seqs = self._limit
        scheduler.max_num_batched_tokens = _PREFILL_TOKENS
        scheduler.dynamic_split_fuse = True  # a prompt of any length fits
        scheduler.cache_size = 0
        scheduler.num_kv_blocks = blocks
        try:
            return genai.ContinuousBatchingPipeline(
                self._folder, scheduler, "CPU", self._properties
            )
        except RuntimeError as error:
            raise BrokenInput(
                f"OpenVINO cannot open the model: {last_line(error)}", place=str(self._folder)
            ) from error

    def _submit(self, answer: Answer) -> Answer:
        import openvino as ov
        import openvino_genai as genai

        request = answer.request
        ids = ov.Tensor(np.array([request.prompt_ids], np.int64))
        config = genai.GenerationConfig(max_new_tokens=request.max_new_tokens, logprobs=1)
        config.apply_chat_template = False
        if request.ignore_stop or not request.stop_ids:
            config.ignore_eos = True
        else:
            config.set_eos_token_id(request.stop_ids[0])
            config.stop_token_ids = set(request.stop_ids)
        config.do_sample = request.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p = request.temperature, request.top_p
            config.top_k = _CANDIDATES
            config.rng_seed = request.seed
        try:
            answer.handle = self._pipeline.add_request(next(self._numbers), ids, config)
        except RuntimeError as error:
            raise WeightcutError(
                f"OpenVINO refuses the request: {last_line(error)}", place=request.id
            ) from error
        return answer

    def _step(self) -> None:
        try:
            self._pipeline.step()
        except RuntimeError as error:
            raise WeightcutError(
                f"OpenVINO failed while generating: {last_line(error)}", place=str(self._folder)
            ) from error

    def _read(self, answer: Answer, now: float) -> None:
        while answer.handle.can_read():
            for output in answer.handle.read().values():
                pairs = zip(output.generated_ids, output.generated_log_probs, strict=True)
                for token, logprob in pairs:
                    answer.add(token, now, logprob, self._tokenizer)
        status = answer.handle.get_status().name
        if answer.reason == "stop" and status == "RUNNING":
            answer.handle.cancel()
        elif answer.reason is None and status not in ("RUNNING", "FINISHED"):
            raise WeightcutError(
                f"OpenVINO gave up the sequence ({status.lower()})", place=answer.request.id
            )
        elif answer.reason is None and status == "FINISHED":
            answer.reason = "stop"


class StatefulBatching:
    """Groups of sequences, padded on the left, over the model's own state.

    Sequences that have ended are taken out of the state; the next group starts when all have.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, limit: int) -> None:
        self._request = model.create_infer_request()
        self._inputs = {name for port in model.inputs for name in port.names}
        self._tokenizer, self._limit = tokenizer, limit
        vocabulary = model.output("logits").partial_shape[2]
        width = vocabulary.get_length() if vocabulary.is_static else tokenizer.vocab_size
        self._columns = max(1, _LOGITS // width)

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield each answer as it ends; prompts of like length go together."""
        start = time.perf_counter()
        ordered = sorted(requests, key=lambda request: len(request.prompt_ids))
        for first in range(0, len(ordered), self._limit):
            yield from self._group(ordered[first : first + self._limit], start)

    def _group(self, requests: Sequence[Request], start: float) -> Iterator[Completion]:
        answers = [Answer(request) for request in requests]
        draws = [np.random.default_rng(request.seed) for request in requests]
        ids, mask = _pad_left([request.prompt_ids for request in requests])
        rows = np.arange(len(answers), dtype=np.int32)
        self._request.reset_state()
        while answers:
            logits = self._last_logits(ids, mask, rows)
            values = log_softmax(logits, np.empty(logits.shape, np.float32))
            now = time.perf_counter() - start
            for answer, row, draw in zip(answers, values, draws, strict=True):
                token = choose(row, answer.request.temperature, answer.request.top_p, draw)
                answer.add(token, now, float(row[token]), self._tokenizer)
            rows = np.array([i for i, a in enumerate(answers) if not a.reason], np.int32)
            ended = [answer for answer in answers if answer.reason]
            answers, draws = [answers[i] for i in rows], [draws[i] for i in rows]
            ids = np.array([[answer.ids[-1]] for answer in answers], np.int64)
            mask = np.pad(mask[rows], ((0, 0), (0, 1)), constant_values=1)
            for answer in ended:
                yield answer.completion(self._tokenizer)

    def _last_logits(
        self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], rows: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Return the logits after the last column, read in pieces: a graph gives those of all."""
        piece, past = max(1, self._columns // len(ids)), mask.shape[1] - ids.shape[1]
        for start in range(0, ids.shape[1], piece):
            part = ids[:, start : start + piece]
            feed = step_inputs(self._inputs, part, mask[:, : past + start + part.shape[1]], rows)
            logits = self._request.infer(feed, share_outputs=True)["logits"]
            rows = np.arange(len(ids), dtype=np.int32)
        last: npt.NDArray[np.float32] = logits[:, -1]
        return last


def step_inputs(
    names: set[str],
    ids: npt.NDArray[np.int64],
    mask: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int32] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs of a stateful model for the tokens `ids` [batch, new].

    mask: int64 [batch, past + new], 0 for padding. rows: which rows of the state go on, all of
    them by default. Positions count from each row's first token that is no padding.
    """
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :]
    rows = np.arange(len(ids), dtype=np.int32) if rows is None else rows
    feed = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "beam_idx": rows}
    return {name: np.ascontiguousarray(value) for name, value in feed.items() if name in names}


def last_line(error: BaseException) -> str:
    """Return the last line of a library's message, where OpenVINO says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _blocks(request: Request) -> int:
    """Return the cache blocks that a request may come to need, one to spare included."""
    return -(-(len(request.prompt_ids) + request.max_new_tokens) // _BLOCK) + 1


def _pad_left(
    prompts: Sequence[Sequence[int]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return ids and mask, int64 [batch, longest]."""
    longest = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), longest), np.int64)
    mask = np.zeros((len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = prompt
        mask[row, longest - len(prompt) :] = 1
    return ids, mask
