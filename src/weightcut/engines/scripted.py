"""The scripted engine: opens fake models without weights (`weightcut.models.scripted`)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from weightcut.engines.engine import Closing, Cost
from weightcut.models.scripted import END, ScriptedModel
from weightcut.records import (
    Artifact,
    Completion,
    FinishReason,
    Format,
    LogProbs,
    Record,
    Request,
    TokenBlocks,
)

_RAMBLING = "    x = x + 1\n"


class ScriptedEngine(Record):
    """Deterministic answers, distributions, latencies and failures, as a `scripted.json` says."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"scripted"})
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    exact: ClassVar[dict[str, Any]] = {}
    cost: ClassVar[Cost] = Cost(
        single_s=0, batched_s=0, prefill_s=0, start_s=0.1, base_memory=100_000_000
    )

    kind: Literal["scripted"] = "scripted"

    def open(self, artifact: Artifact) -> ScriptedSession:
        """Read the artifact's `scripted.json`."""
        return ScriptedSession(ScriptedModel.load(artifact.path))


class ScriptedSession(Closing):
    """An opened scripted model; see `ScriptedModel` for what it does and why."""

    def __init__(self, model: ScriptedModel) -> None:
        self._model = model
        self._answered = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield the answers in the order in which they would have ended."""
        completions = [self._complete(request, len(requests)) for request in requests]
        for completion in sorted(completions, key=lambda c: c.token_times[-1:]):
            self._fail_on_demand()
            time.sleep(self._model.sleep_s)
            self._answered += 1
            yield completion

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield for each position the distribution that follows its last byte."""
        table = self._model.next_logprobs()
        for index, ids in enumerate(blocks.ids):
            yield LogProbs(index, table[ids[:-1]])

    def describe(self) -> dict[str, Any]:
        """Return that nothing was really computed."""
        return {"engine": "scripted", "precision": "none", "threads": 0}

    def close(self) -> None:
        """Do nothing: there is no memory to give back."""

    def _fail_on_demand(self) -> None:
        limit = self._model.fail_after
        if limit is None and self._model.crash:
            limit = 0
        if limit is None or self._answered < limit:
            return
        if self._model.crash:
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError(f"the scripted model fails after {limit} answers, as it was told to")

    def _complete(self, request: Request, concurrent: int) -> Completion:
        sample = f"{request.id}#{request.seed}" if request.temperature else request.id
        answer, rambles = self._model.answer(request.prompt, sample)
        text, ids, reason = _cut(answer, rambles, request)
        return Completion(
            request_id=request.id,
            text=text,
            token_ids=tuple(ids),
            token_times=self._times(sample, len(ids), concurrent),
            finish_reason=reason,
            mean_logprob=self._mean_logprob(request, ids),
        )

    def _times(self, sample: str, tokens: int, concurrent: int) -> tuple[float, ...]:
        model = self._model
        step = model.tpot_s * (1 + model.batch_cost * (concurrent - 1))
        pace = 1 + model.noise * (2 * model.draw(sample, "pace") - 1)
        return tuple((model.ttft_s + step * i) * pace for i in range(tokens))

    def _mean_logprob(self, request: Request, ids: list[int]) -> float | None:
        if not ids:
            return None
        before = [*(request.prompt_ids[-1:] or (END,)), *ids[:-1]]
        return float(self._model.next_logprobs()[before, ids].mean())


def _cut(answer: str, rambles: bool, request: Request) -> tuple[str, list[int], FinishReason]:
    """Return text, ids and finish reason of an answer under the request's limits.

    The ids hold what ended the answer (the end token, or the stop text); the text does not.
    """
    limit = request.max_new_tokens
    if rambles or request.ignore_stop:
        answer += _RAMBLING * (limit // len(_RAMBLING) + 1)
    ids = [*answer.encode(), END]
    if request.ignore_stop:
        return _text(ids[:limit]), ids[:limit], "length"
    stops = [(at, text) for text in request.stop if (at := answer.find(text)) >= 0]
    if stops:
        at, stop = min(stops)
        answer, ids = answer[:at], [*answer[: at + len(stop)].encode()]
    if len(ids) > limit:
        return _text(ids[:limit]), ids[:limit], "length"
    return answer, ids, "stop"


def _text(ids: list[int]) -> str:
    return bytes(ids).decode(errors="replace")
