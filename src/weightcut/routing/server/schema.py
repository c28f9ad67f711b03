"""The bodies of requests, as in OpenAI's API reference; what is not supported is refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightcut.routing.server.problems import Problem

AUTO = "auto"
_BIG = 2**31 - 1


class Body(BaseModel):
    """Strict: no coercion, no unknown keys, no NaN. What is null is not given."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _given(cls, data: Any) -> Any:
        """Leave out unknown keys that are null.

        Clients send them for all that they know, and with an answer's message that goes back as a
        turn of the chat (`refusal`, `tool_calls`).
        """
        if not isinstance(data, dict):
            return data
        return {key: v for key, v in data.items() if v is not None or key in cls.model_fields}


class Part(Body):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class Message(Body):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """Return role and text, `developer` being today's name for `system`."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Sampling(Body):
    """What all three forms of request share.

    The last fields are accepted for the sake of clients that send them; those that would change the
    answer only with the value that changes nothing.
    """

    model: str = Field(AUTO, max_length=200, description="`auto`, or a variant's name")
    max_tokens: int | None = Field(None, ge=1, le=_BIG)
    temperature: float | None = Field(None, ge=0, le=2, description="default 0: greedy")
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = Field(None, description="up to 16 texts that end the answer")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None

    def stops(self) -> tuple[str, ...]:
        """Return the texts that end the answer."""
        found = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(found) > 16 or not all(0 < len(stop) <= 500 for stop in found):
            raise Problem(400, "at most 16 stop texts of 1 to 500 characters", param="stop")
        return tuple(found)

    def refuse_unsupported(self) -> None:
        """Raise a Problem for settings that would silently change nothing."""
        for name in ("frequency_penalty", "presence_penalty", "logit_bias"):
            if getattr(self, name):
                raise Problem(400, f"{name} is not supported", param=name, code="unsupported")


class ChatRequest(Sampling):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_completion_tokens: int | None = Field(None, ge=1, le=_BIG)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    continue_final_message: bool | None = Field(
        None, description="go on from the last message, which is the assistant's (vLLM's extension)"
    )
    add_generation_prompt: bool | None = None
    modalities: list[Literal["text"]] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None


class CompletionRequest(Sampling):
    """`POST /v1/completions`."""

    prompt: str | list[str]
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class GenerateRequest(Sampling):
    """`POST /generate`: a prompt, as a chat of one turn where the model knows chats."""

    prompt: str


class FeedbackRequest(Body):
    """`POST /v1/feedback`: was the answer of this id accepted?"""

    id: str = Field(min_length=1, max_length=100)
    accepted: bool
    comment: str | None = Field(None, max_length=2000, description="kept beside the verdict")
