"""The fake compression: makes a scripted model lighter and worse by known amounts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import Context, Requirements
from weightcut.models.scripted import WEIGHTS, ScriptedModel
from weightcut.records import Format, Record


class ScriptedShrink(Record):
    """Rewrite `scripted.json`: less skill, more speed, fewer bytes, predictions that drift."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"scripted"})
    produces: ClassVar[Format] = "scripted"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = ""

    kind: Literal["scripted-shrink"] = "scripted-shrink"
    skill_lost: float = Field(0.0, ge=0, le=1, description="share of all samples no longer right")
    ramble: float | None = Field(
        None, ge=0, le=1, description="share of wrong samples that run on; null keeps the source's"
    )
    speedup: float = Field(1.0, gt=0, description="both reported latencies are divided by it")
    size: float = Field(1.0, gt=0, description="bytes of mock weights are multiplied by it")
    drift: float = Field(0.0, ge=0, description="noise added to the next-byte logits, in nats")

    def requirements(self) -> Requirements:
        """Return next to nothing."""
        return Requirements(
            memory_per_weight=0, base_memory=0, seconds_per_weight=0, base_seconds=0.05
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the changed `scripted.json`, and mock weights of the new size."""
        model = ScriptedModel.load(source)
        changes = {
            "skill": max(0.0, model.skill - self.skill_lost),
            "ramble": model.ramble if self.ramble is None else self.ramble,
            "ttft_s": model.ttft_s / self.speedup,
            "tpot_s": model.tpot_s / self.speedup,
            "drift": model.drift + self.drift,
        }
        weights = source / WEIGHTS
        size = round(weights.stat().st_size * self.size) if weights.exists() else 0
        model.model_copy(update=changes).save(out, size)
        context.record.update(changes)
