"""The bodies of answers, for the OpenAPI description; `wire` writes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Usage(BaseModel):
    """Tokens read and made."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Told(BaseModel):
    """Who answered, why, and what it cost."""

    variant: str
    chosen: str
    by: Literal["router", "name"]
    reason: str
    scores: dict[str, float]
    cost: float
    cost_unit: str
    escalated: list[str]
    attempts: list[dict[str, Any]]


class Reply(BaseModel):
    """A message of the assistant."""

    role: Literal["assistant"]
    content: str
    refusal: str | None


class ChatChoice(BaseModel):
    """One answer to a chat."""

    index: int
    message: Reply
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    """The answer of `POST /v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    weightcut: Told


class TextChoice(BaseModel):
    """One continuation."""

    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    """The answer of `POST /v1/completions`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    weightcut: Told


class Generated(Told):
    """The answer of `POST /generate`."""

    id: str
    text: str
    texts: list[str] | None = None
    finish_reason: Literal["stop", "length"]
    usage: Usage


class Model(BaseModel):
    """A name that requests may give."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The answer of `GET /v1/models`."""

    object: Literal["list"]
    data: list[Model]


class FeedbackTaken(BaseModel):
    """The answer of `POST /v1/feedback`."""

    id: str
    variant: str
    accepted: bool


class Health(BaseModel):
    """The answer of `GET /healthz` and `/readyz`."""

    status: Literal["alive", "ready"]


class Fault(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failure(BaseModel):
    """The body of every answer that is no success."""

    error: Fault
