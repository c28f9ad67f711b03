"""Models on disk: references, checkpoints, recipes' steps and the artifacts they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from weightcut.records.base import Record

Format = Literal["hf", "peft", "openvino", "gguf", "onnx", "torch", "scripted"]


class Checkpoint(Record):
    """A pinned local copy of a model, as it was before any compression.

    digest: SHA-256 over the sorted names and digests of its files. origin: where it came from, for
    people. notes: what readers of results must know (for example weights that already lie on a
    4-bit grid).
    """

    reference: str
    path: Path
    format: Format
    digest: str
    origin: str
    notes: tuple[str, ...] = ()
    bytes: int = Field(description="bytes of weights and tokenizer on disk")
    parameters: int = Field(description="number of weights, tied ones counted once")


class Step(Record):
    """One step of a recipe: a method's name and its settings, as validated plain data."""

    kind: str
    settings: dict[str, Any] = {}

    def label(self) -> str:
        """Return the step as a person would write it: `int4(awq=true)`."""
        inner = ", ".join(f"{k}={_short(v)}" for k, v in self.settings.items())
        return f"{self.kind}({inner})" if inner else self.kind


def _short(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Proof(Record):
    """How far a step moved the model's predictions from those of what it was made from.

    kl: mean KL divergence in nats per token; top1: share of positions with the same best token.
    """

    kl: float
    top1: float
    windows: int
    tokens: int
    limit: float | None = Field(None, description="nats per token above which the step is refused")


class Artifact(Record):
    """A model made by a recipe (or a checkpoint as it is), ready for an engine.

    digest: SHA-256 over the sorted names and digests of its files. parts: bytes per part of the
    weights (embedding, layers, head, other), where known. details: what a method wishes to record
    (group size per layer, layers removed, loss curve). proofs: one per step that was proven.
    """

    path: Path
    format: Format
    digest: str
    bytes: int
    checkpoint: str = Field(description="digest of the checkpoint that the recipe started from")
    recipe: tuple[Step, ...] = ()
    parts: dict[str, int] = {}
    details: dict[str, Any] = {}
    proofs: dict[str, Proof] = {}
    seconds: float = Field(0.0, description="wall seconds that its steps took, all together")
