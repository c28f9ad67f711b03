"""4-bit weights by bitsandbytes: FP4 in blocks of 64, scales quantized again if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import bnb
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class BnbFP4(Record):
    """Quantize every linear layer but the head to 4-bit floats (FP4).

    FP4's 16 levels are those of a float of 1 sign, 2 exponent and 1 mantissa bits.
    Each block of 64 weights has one float32 scale (0.5 bit a weight); double quantization stores
    the scales in 8 bits (0.127 bit a weight). A layer whose inputs are no multiple of 64, or
    outputs of 32, stays in bf16 too: bitsandbytes cannot run it on CPUs with AVX512.
    Embeddings and norms stay in bf16. Source: QLoRA, arXiv:2305.14314, section 4,
    where it loses to NF4.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2305.14314"

    kind: Literal["bnb-fp4"] = "bnb-fp4"
    double_quant: bool = Field(True, description="quantize the blocks' scales too, to 8 bits")
    compute_dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="type that weights are unpacked to for each product"
    )

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 4-bit copy."""
        return bnb.requirements(disk_per_weight=1.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and write the quantized folder."""
        import torch

        context.record["block_size"] = bnb.BLOCK
        bnb.compress(
            source,
            out,
            context,
            bits=4,
            load_in_4bit=True,
            bnb_4bit_quant_type="fp4",
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=getattr(torch, self.compute_dtype),
        )
