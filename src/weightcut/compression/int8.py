"""Weights to 8 bit, one scale for each output channel."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import Context, Requirements
from weightcut.compression.nncf_weights import compress_weights, requirements
from weightcut.records import Format, Record


class Int8(Record):
    """Round every weight matrix, the embedding included, to 8 bit; no data is needed."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"openvino"})
    produces: ClassVar[Format] = "openvino"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "arXiv:2002.08679"

    kind: Literal["int8"] = "int8"
    mode: Literal["asym", "sym"] = Field(
        "asym", description="whether a zero point shifts each channel's range"
    )

    def requirements(self) -> Requirements:
        """Return little more than the weights twice."""
        return requirements(seconds_per_weight=1e-8, base_seconds=5.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with 8-bit weights."""
        context.progress("rounding weights to 8 bit", None)
        compress_weights(source, out, context.record, mode=f"int8_{self.mode}")
