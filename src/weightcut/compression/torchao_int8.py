"""8-bit weights by torchao, activations in 16 bit."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from weightcut.compression import torchao
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class TorchaoInt8(Record):
    """Quantize the weights of every linear layer but the head to 8 bits, one scale for each row.

    Activations, embeddings and norms stay in bf16. Weights are rounded to the nearest of 255
    evenly spaced levels that are symmetric about zero. Source: torchao's Int8WeightOnlyConfig
    (arXiv:2507.16099).
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "arXiv:2507.16099"

    kind: Literal["torchao-int8"] = "torchao-int8"

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 8-bit copy."""
        return torchao.requirements(disk_per_weight=1.3)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and write the quantized folder."""
        from torchao.quantization import Int8WeightOnlyConfig

        torchao.compress(source, out, context, Int8WeightOnlyConfig())
