"""4-bit weights by bitsandbytes: FP4 in blocks of 64, scales quantized again if wanted."""

from __future__ import annotations

from typing import ClassVar, Literal

from weightcut.compression.bnb import FourBit


class BnbFP4(FourBit):
    """Quantize every linear layer but the head to 4-bit floats (FP4).

    FP4's 16 levels are those of a float of 1 sign, 2 exponent and 1 mantissa bits.
    Each block of 64 weights has one float32 scale (0.5 bit a weight); double quantization stores
    the scales in 8 bits (0.127 bit a weight). A layer whose inputs are no multiple of 64, or
    outputs of 32, stays in bf16 too: bitsandbytes cannot run it on CPUs with AVX512.
    Embeddings and norms stay in bf16. Source: QLoRA, arXiv:2305.14314, section 4,
    where it loses to NF4.
    """

    levels: ClassVar[Literal["nf4", "fp4"]] = "fp4"

    kind: Literal["bnb-fp4"] = "bnb-fp4"
