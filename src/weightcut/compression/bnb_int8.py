"""8-bit weights by bitsandbytes: LLM.int8(), outliers in 16 bit."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import bnb
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class BnbInt8(Record):
    """Quantize every linear layer but the head by LLM.int8(), outliers in 16 bit.

    Each row of a weight has one float32 scale. At each product the activations are quantized too,
    row by row, save for the columns with a value above the threshold, which are multiplied in 16
    bit; the threshold is kept in the written config. Embeddings and norms stay in bf16. Source:
    LLM.int8(), arXiv:2208.07339.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "arXiv:2208.07339"

    kind: Literal["bnb-int8"] = "bnb-int8"
    threshold: float = Field(
        6.0, ge=0, allow_inf_nan=False,
        description="activations above it are multiplied in 16 bit; 0 takes none out",
    )  # fmt: skip

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 8-bit copy."""
        return bnb.requirements(disk_per_weight=1.3)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and write the quantized folder."""
        context.record["threshold"] = self.threshold
        bnb.compress(
            source, out, context, bits=8, load_in_8bit=True, llm_int8_threshold=self.threshold
        )
