"""Weights of an ONNX model to 4 bit in blocks."""

from __future__ import annotations

from typing import ClassVar, Literal

from weightcut.compression.onnx_weights import OnnxRounding


class OnnxInt4(OnnxRounding):
    """Round the weight matrices of an ONNX model to 4 bit in blocks that share a scale.

    Plain rounding, no data. Embedding and head are kept in 8 bit. The operator is MatMulNBits;
    inputs that a block does not divide are filled up with zeros.
    """

    bits: ClassVar[int] = 4

    kind: Literal["onnx-int4"] = "onnx-int4"
