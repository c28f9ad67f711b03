"""Weights of an ONNX model to 8 bit in blocks."""

from __future__ import annotations

from typing import ClassVar, Literal

from weightcut.compression.onnx_weights import OnnxRounding


class OnnxInt8(OnnxRounding):
    """Round the weight matrices of an ONNX model to 8 bit in blocks that share a scale.

    Plain rounding, no data; the embedding too. The operator is MatMulNBits.
    """

    bits: ClassVar[int] = 8

    kind: Literal["onnx-int8"] = "onnx-int8"
