"""Weights of an ONNX model to 4 bit in blocks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import onnx_weights
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class OnnxInt4(Record):
    """Round the weight matrices of an ONNX model to 4 bit in blocks that share a scale.

    Plain rounding, no data. Embedding and head are kept in 8 bit. The operator is MatMulNBits;
    inputs that a block does not divide are filled up with zeros.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"onnx"})
    produces: ClassVar[Format] = "onnx"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = (
        "https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md"
    )

    kind: Literal["onnx-int4"] = "onnx-int4"
    block_size: Literal[16, 32, 64, 128, 256] = Field(
        32, description="weights of an output channel that share a scale"
    )
    symmetric: bool = Field(False, description="levels symmetric about zero; else with zero points")
    int8_activations: bool = Field(
        True, description="multiply with activations rounded to 8 bit in blocks, which is faster"
    )

    def requirements(self) -> Requirements:
        """Return what ONNX Runtime's quantizer needs."""
        return onnx_weights.requirements(4)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with 4-bit weights."""
        onnx_weights.quantize(
            source,
            out,
            context,
            4,
            self.block_size,
            self.symmetric,
            self.int8_activations,
        )
