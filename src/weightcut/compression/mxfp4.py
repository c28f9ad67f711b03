"""Weights to the 4-bit floating point of the OCP microscaling format, for OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import Context, Requirements
from weightcut.compression.nncf_weights import compress_weights, requirements
from weightcut.records import Format, Record

_GROUP = 32  # the format's own


class MXFP4(Record):
    """Round the weight matrices to MXFP4: E2M1 values, 32 of which share a power of two.

    No data is needed. Embedding and output layer are kept in 8 bit (E4M3 with such a scale) unless
    `all_layers` is set.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"openvino"})
    produces: ClassVar[Format] = "openvino"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2310.10537"

    kind: Literal["mxfp4"] = "mxfp4"
    all_layers: bool = Field(False, description="embedding and output layer in 4 bit too")

    def requirements(self) -> Requirements:
        """Return little more than the weights twice."""
        return requirements(seconds_per_weight=3e-8, base_seconds=5.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with MXFP4 weights."""
        context.progress("rounding weights to MXFP4", None)
        compress_weights(
            source,
            out,
            context.record,
            mode="mxfp4",
            group_size=_GROUP,
            all_layers=self.all_layers,
        )
