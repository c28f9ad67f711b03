"""A study after parsing: everything resolved, nothing imported; kept beside the results."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator

from weightcut.records.base import Record
from weightcut.records.models import Step


class Named(Record):
    """A part named in a study, with its settings as validated plain data.

    source: `FILE.py:CLASS` where the part is the user's own, from a file; else empty.
    """

    kind: str
    settings: dict[str, Any] = {}
    source: str = ""


class VariantSpec(Record):
    """One way to deploy the model: a recipe and the engine that opens its result."""

    name: str
    engine: Named
    recipe: tuple[Step, ...] = ()


class Keep(Record):
    """What must be kept, and how sure one must be.

    The verdict has one primary metric, which must keep `share` of the baseline's value, and guards
    that can only veto. Limits of guards are in the guards' own units.
    """

    metric: str = Field("codebleu", description="primary metric, higher is better")
    task: str = Field("", description="task that the metric is of; empty: the first that has it")
    share: float = Field(0.95, gt=0, le=1, description="share of the baseline to keep")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    kl_limit: float = Field(
        0.1, gt=0, description="nats per token of divergence that the guard lets pass"
    )


class Target(Record):
    """What a variant must reach beyond keeping quality."""

    latency_speedup: float = Field(2.0, gt=0, description="baseline p50 latency over the variant's")


class LoadSpec(Record):
    """How a variant is put under load, as a server would be; off unless a study asks for it.

    Open loop: requests arrive at random (Poisson), at a rate, whether or not the ones before are
    answered. Closed loop: so many clients ask, wait for the answer and ask again.
    """

    rates: tuple[float, ...] = Field((0.5, 1, 2, 4), description="open loop: requests per second")
    clients: tuple[int, ...] = Field((1, 4, 16), description="closed loop: clients at once")
    requests: int = Field(
        60,
        ge=2,
        description="requests at each rate and number of clients, at least 4 a client",
    )
    at_once: int = Field(32, ge=1, description="most requests that are answered together")
    ttft_ms: float | None = Field(
        2000, gt=0, description="goodput counts answers whose first token came within this time"
    )
    tpot_ms: float | None = Field(
        200, gt=0, description="and whose further tokens came at least this fast, on average"
    )
    latency_ms: float | None = Field(
        None, gt=0, description="and which were whole within this time; null: no such limit"
    )

    @field_validator("rates")
    @classmethod
    def _positive_rates(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < rate < math.inf for rate in rates):
            raise ValueError("a rate is a number of requests per second above 0")
        return rates

    @field_validator("clients")
    @classmethod
    def _positive_clients(cls, clients: tuple[int, ...]) -> tuple[int, ...]:
        if any(count < 1 for count in clients):
            raise ValueError("there is at least 1 client")
        return clients


class ProfileSpec(Record):
    """How speed is measured: equal prompts and equal answer lengths for every variant."""

    concurrency: tuple[int, ...] = Field(
        (1, 8, 32), description="numbers of sequences that are answered at once"
    )
    prompts: int = Field(
        20, ge=1, description="different prompts timed one at a time, fewer where there are no more"
    )
    new_tokens: int = Field(24, ge=2, description="tokens of every timed answer")
    patience: float = Field(
        10.0, ge=0, description="seconds that a timing waits for the machine's other work to end"
    )
    load: LoadSpec | None = Field(None, description="requests that arrive over time; null: none")

    @field_validator("concurrency")
    @classmethod
    def _different_levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or min(levels) < 1 or len(set(levels)) < len(levels):
            raise ValueError("name at least one number of sequences, none below 1 and none twice")
        return levels


class StudySpec(Record):
    """A whole study, defaults filled in."""

    study: str
    model: str
    baseline: str
    variants: tuple[VariantSpec, ...]
    tasks: tuple[Named, ...]
    profile: ProfileSpec | None = ProfileSpec()
    keep: Keep = Keep()
    target: Target = Target()
    seed: int = 0

    def variant(self, name: str) -> VariantSpec:
        """Return the variant of that name."""
        return next(v for v in self.variants if v.name == name)
