"""SparseGPT: weights become zero, and those that stay mend the error."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from weightcut.compression import llm_compressor, sparse
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class SparseGPT(Record):
    """Set weights of every linear layer but the head to zero and adjust the others in their row.

    Column by column those go that change the layer's outputs on calibration text least, and the
    error is spread over the columns to come by the inverse Hessian of the layer's inputs, each
    layer on what the pruned layers before it give. With a pattern, two of every four neighbouring
    inputs' weights stay (2:4) or four of eight (4:8). The result is stored dense: zeros bring
    neither size nor speed on the engines here. Source: arXiv:2301.00774.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = "arXiv:2301.00774"

    kind: Literal["sparsegpt"] = "sparsegpt"
    sparsity: float = Field(0.5, gt=0, lt=1, description="share of the weights that become zero")
    pattern: sparse.Pattern = Field(
        None, description="weights left of each group of neighbours; null: anywhere in the layer"
    )
    dampening: float = Field(
        0.01, gt=0, lt=1, description="added to the Hessian's diagonal, as a share of its mean"
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
            5,
            3e-7,
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
            "sparsegpt:SparseGPTModifier",
            self.sparsity,
            self.pattern,
            (self.windows, self.length),
            dampening_frac=self.dampening,
        )
