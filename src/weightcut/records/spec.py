"""A study after parsing: everything resolved, nothing imported; kept beside the results."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from weightcut.records.base import Record
from weightcut.records.models import Step


class Named(Record):
    """A part named in a study, with its settings as validated plain data."""

    kind: str
    settings: dict[str, Any] = {}


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


class ProfileSpec(Record):
    """How speed is measured: equal prompts and equal answer lengths for every variant."""

    concurrency: tuple[int, ...] = (1, 8, 32)
    prompts: int = Field(20, ge=1, description="different prompts timed one at a time")
    new_tokens: int = Field(48, ge=2, description="tokens of every timed answer")


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
