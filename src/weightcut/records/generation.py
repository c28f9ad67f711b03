"""What goes into an engine and what comes out: requests and completions, samples and scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from weightcut.records.base import Record

FinishReason = Literal["stop", "length", "aborted"]


class Request(Record):
    """One prompt, already rendered and tokenized, so that every engine sees the same ids."""

    id: str
    prompt: str = Field(description="the rendered prompt, chat template applied")
    prompt_ids: tuple[int, ...]
    max_new_tokens: int = 256
    stop: tuple[str, ...] = Field((), description="texts that end the answer; cut off from it")
    stop_ids: tuple[int, ...] = Field((), description="token ids that end the answer")
    ignore_stop: bool = Field(False, description="produce max_new_tokens tokens (for timings)")
    temperature: float = Field(0.0, description="0 is greedy")
    top_p: float = 1.0
    seed: int = 0


class Completion(Record):
    """The answer to one request.

    token_times: seconds from the submission of the request to each token, in order; the first is
    the time to first token. mean_logprob: mean natural-log probability of the chosen tokens under
    the model at temperature 1; None where the engine cannot tell.
    """

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    token_times: tuple[float, ...]
    finish_reason: FinishReason
    mean_logprob: float | None = None


class Sample(Record):
    """One item of a generation task.

    messages: the chat. plain_prompt: for models without a chat template. reference: the canonical
    answer. meta: what the task needs to score.
    """

    id: str
    messages: tuple[dict[str, str], ...]
    plain_prompt: str
    reference: str
    prefill: str = Field("", description="start of the answer, put into the model's mouth")
    meta: dict[str, Any] = {}


class Scores(Record):
    """The scores of one answer: numbers by name, and what a person wants to see of it."""

    values: dict[str, float]
    detail: dict[str, Any] = {}
