"""4-bit weights by bitsandbytes: NF4 in blocks of 64, scales quantized again if wanted."""

from __future__ import annotations

from typing import ClassVar, Literal

from weightcut.compression.bnb import FourBit


class BnbNF4(FourBit):
    """Quantize every linear layer but the head to 4-bit NormalFloat (NF4).

    NF4's 16 levels are the quantiles of a normal distribution, as trained weights nearly have it.
    Each block of 64 weights has one float32 scale (0.5 bit a weight); double quantization stores
    the scales in 8 bits (0.127 bit a weight). A layer whose inputs are no multiple of 64, or
    outputs of 32, stays in bf16 too: bitsandbytes cannot run it on CPUs with AVX512.
    Embeddings and norms stay in bf16. Source: QLoRA, arXiv:2305.14314, section 3.
    """

    levels: ClassVar[Literal["nf4", "fp4"]] = "nf4"

    kind: Literal["bnb-nf4"] = "bnb-nf4"
