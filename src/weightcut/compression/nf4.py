"""Weights to 4 bit on the levels of a normal distribution, for OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import Context, Requirements
from weightcut.compression.nncf_weights import (
    compress_weights,
    group_size_fallback,
    requirements,
)
from weightcut.records import Format, Record


class NF4(Record):
    """Round the weight matrices to NF4, 16 levels as a normal distribution has its weights.

    No data is needed. Embedding and output layer are kept in 8 bit unless `all_layers` is set.
    Each layer has the largest group of 128, 64 or 32 weights that divides its input size.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"openvino"})
    produces: ClassVar[Format] = "openvino"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2305.14314"

    kind: Literal["nf4"] = "nf4"
    group_size: Literal[32, 64, 128] = Field(128, description="weights that share a scale, at most")
    all_layers: bool = Field(False, description="embedding and output layer in 4 bit too")

    def requirements(self) -> Requirements:
        """Return little more than the weights twice."""
        return requirements(seconds_per_weight=3e-8, base_seconds=5.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with NF4 weights."""
        context.progress("rounding weights to NF4", None)
        compress_weights(
            source,
            out,
            context.record,
            mode="nf4",
            all_layers=self.all_layers,
            **group_size_fallback(self.group_size),
        )
