"""What `weightcut serve --config FILE` reads; every field has a default but `variants`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Record


class EngineUpstream(Record):
    """A variant of a finished run, answered by its engine in this process."""

    kind: Literal["engine"]
    run: Path | None = Field(None, description="a run folder; `variant` names one of its variants")
    variant: str | None = Field(None, description="the run's name for it; default: the same name")
    artifact: Path | None = Field(None, description="an artifact's or a model's folder, not a run")
    engine: str = Field("openvino", description="the engine that opens `artifact`")
    options: dict[str, Any] = Field({}, description="options of that engine")
    slots: int = Field(64, ge=1, description="answers made at a time, where the engine can batch")
    cache_tokens: int = Field(
        32_768, ge=64, description="tokens of key-value cache, shared by the answers in the making"
    )

    @model_validator(mode="after")
    def _one_source(self) -> EngineUpstream:
        if (self.run is None) == (self.artifact is None):
            raise ValueError("give either `run` or `artifact`")
        return self


class OpenAIUpstream(Record):
    """An OpenAI-compatible server: vLLM, llama-server, Ollama, another weightcut."""

    kind: Literal["openai"]
    url: str = Field(pattern=r"^https?://", description="base URL, /v1 included")
    model: str = Field(description="what the server calls the model")
    key_env: str | None = Field(None, description="environment variable that holds its API key")
    slots: int = Field(64, ge=1, description="requests sent to it at a time")
    connect_s: float = Field(2.0, gt=0, description="seconds to connect")
    continues: bool = Field(
        True,
        description="whether it goes on from a last message of the assistant, so that a stream "
        "that broke elsewhere can be finished here",
    )
    health: str | None = Field(None, description="URL that is asked for health; default: models")


class ScriptedUpstream(Record):
    """The fake: fixed words, programmable delays and failures. For tests and benchmarks."""

    kind: Literal["scripted"]
    reply: str = "pass"
    words: dict[str, str] = Field({}, description="text in the prompt -> the answer to it")
    first_token_s: float = Field(0.0, ge=0, description="seconds to the first token")
    token_s: float = Field(0.0, ge=0, description="seconds to each further token")
    script: list[Literal["ok", "error", "overloaded", "hang", "break", "refuse"]] = Field(
        [], description="what happens to the first calls, one after the other; then `then`"
    )
    then: Literal["ok", "error", "overloaded", "hang", "break", "refuse"] = "ok"
    logprob: float = Field(-0.1, le=0, description="log-probability of every token, nats")
    context: int | None = Field(None, ge=1, description="words that prompt and answer may have")
    slots: int = Field(1024, ge=1)


UpstreamConfig = Annotated[
    EngineUpstream | OpenAIUpstream | ScriptedUpstream, Field(discriminator="kind")
]


class Price(Record):
    """What a variant's answers cost, in the unit of `cost_unit`."""

    request: float = Field(0.0, ge=0, description="for each answer")
    prompt_million: float = Field(0.0, ge=0, description="for a million prompt tokens")
    completion_million: float = Field(0.0, ge=0, description="for a million tokens of answers")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of one answer."""
        tokens = prompt_tokens * self.prompt_million + completion_tokens * self.completion_million
        return self.request + tokens / 1e6


class Limits(Record):
    """How much one request, one key and the server may have."""

    body_bytes: int = Field(1_000_000, ge=1, description="bytes of a request's body")
    prompt_tokens: int = Field(8192, ge=1, description="tokens of a prompt")
    max_tokens: int = Field(4096, ge=1, description="tokens of an answer that may be asked for")
    default_max_tokens: int = Field(256, ge=1, description="tokens of an answer, if not asked for")
    choices: int = Field(8, ge=1, description="answers to one request (n, times its prompts)")
    running: int = Field(256, ge=1, description="answers in the making or waiting; beyond it 429")
    requests_per_minute: float | None = Field(
        None, gt=0, description="for each key; null: no limit"
    )
    burst: int = Field(20, ge=1, description="requests of one key at once, within its rate")


class Timeouts(Record):
    """Seconds that things may take."""

    head_s: float = Field(10.0, gt=0, description="for a client to send a request's head")
    body_s: float = Field(20.0, gt=0, description="for a client to send a request's body")
    write_s: float = Field(30.0, gt=0, description="for a client to take what waits to be sent")
    first_token_s: float = Field(60.0, gt=0, description="for an upstream's first token")
    token_s: float = Field(20.0, gt=0, description="for an upstream's next token")
    total_s: float = Field(300.0, gt=0, description="for an answer, waiting and retries included")
    drain_s: float = Field(60.0, ge=0, description="for accepted requests to finish on SIGTERM")


class Retries(Record):
    """Whom a failed request is given to next, and when."""

    rounds: int = Field(2, ge=1, description="times that the whole list of variants is tried")
    base_s: float = Field(0.05, ge=0, description="mean pause before the first retry; then doubled")
    longest_s: float = Field(2.0, ge=0, description="longest mean pause")


class BreakerConfig(Record):
    """When an upstream is left alone, and how it comes back."""

    window_s: float = Field(30.0, gt=0, description="seconds that an outcome counts")
    minimum: int = Field(5, ge=1, description="outcomes in the window before it may open")
    failure_share: float = Field(0.5, gt=0, le=1, description="share of failures that opens it")
    open_s: float = Field(5.0, gt=0, description="seconds before the first recovery probe")
    longest_open_s: float = Field(60.0, gt=0, description="the pause doubles up to this")
    recovery: int = Field(2, ge=1, description="good probes in a row that close it")


class DriftConfig(Record):
    """How the server notices that its prompts are no longer those it was calibrated on."""

    folder: Path | None = Field(
        None, description="where pairs and feedback are kept; null: nowhere"
    )
    shadow_share: float = Field(
        0.0, ge=0, le=1, description="share of routed prompts that the full model answers too"
    )
    window: int = Field(500, ge=50, description="scores that are compared with the first so many")
    psi: float = Field(0.25, gt=0, description="population stability index that raises the alert")
    loss: float = Field(
        0.05, gt=0, lt=1, description="share of quality lost in the shadow pairs that alerts"
    )
    minimum: int = Field(50, ge=10, description="judged pairs before they may raise the alert")
    keep_prompts: bool = Field(False, description="keep the text of prompts and answers, too")
    rows: int = Field(20_000, ge=100, description="rows that a file may have; older ones go")


class ServeConfig(Record):
    """The whole file."""

    variants: dict[str, UpstreamConfig | list[UpstreamConfig]] = Field(
        min_length=1, description="name -> where its answers come from; a list: several replicas"
    )
    prices: dict[str, Price] = Field({}, description="by variant; default: the router's costs")
    cost_unit: str = Field("", description="for people; default: the router's")
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    breaker: BreakerConfig = BreakerConfig()
    drift: DriftConfig = DriftConfig()
    hosts: list[str] = Field([], description="names in the Host header beside those of loopback")
    log_prompts: bool = Field(False, description="write prompts and answers into the log")
    tracing: str | None = Field(
        None, pattern=r"^https?://", description="OTLP/HTTP endpoint for traces; null: none"
    )

    def replicas(self, variant: str) -> list[UpstreamConfig]:
        """Return the upstreams of a variant."""
        found = self.variants[variant]
        return found if isinstance(found, list) else [found]


def read_config(path: Path) -> ServeConfig:
    """Read the file; UsageError names the key that is wrong."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", place=str(path)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the 45th day of a month, too
        line = " ".join(str(error).split())[:200]
        raise BrokenInput(f"not YAML ({line})", place=str(path)) from error
    if not isinstance(data, dict):
        raise BrokenInput("holds no mapping", place=str(path), cure="start with `variants:`")
    return parse_config(data, str(path))


def parse_config(data: dict[str, Any], place: str) -> ServeConfig:
    """Check plain data; UsageError names the key that is wrong."""
    try:
        return ServeConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UsageError(f"{key}: {first['msg']}", place=place) from None
