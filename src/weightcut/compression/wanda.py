"""Wanda: weights become zero by their size and that of the activations they meet."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from weightcut.compression import llm_compressor, sparse
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class Wanda(Record):
    """Set the weights of least magnitude times input norm in each row of a linear layer to zero.

    The norm of each input is measured on calibration text, layer after layer, each on what the
    pruned layers before it give. No weight is changed that stays. With a pattern, two of every
    four neighbouring inputs' weights stay (2:4) or four of eight (4:8). The head stays whole. The
    result is stored dense: zeros bring neither size nor speed on the engines here. Source:
    arXiv:2306.11695.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = "arXiv:2306.11695"

    kind: Literal["wanda"] = "wanda"
    sparsity: float = Field(0.5, gt=0, lt=1, description="share of the weights that become zero")
    pattern: sparse.Pattern = Field(
        None, description="weights left of each group of neighbours; null: anywhere in the row"
    )
    windows: int = Field(32, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        sparse.check_pattern(self.pattern, self.sparsity)
        return self

    def requirements(self) -> Requirements:
        """Return the 16-bit model, the activations of all windows, and a layer's statistics."""
        return llm_compressor.requirements(
            self.windows * self.length,
            3,
            2e-7,
            disk_per_weight=2.0,
            memory_per_weight=2.0,
            window=self.length,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Calibrate and prune layer after layer, and write the result."""
        sparse.prune(
            source,
            out,
            context,
            "wanda:WandaPruningModifier",
            self.sparsity,
            self.pattern,
            (self.windows, self.length),
        )
