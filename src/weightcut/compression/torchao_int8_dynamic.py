"""8-bit weights and activations by torchao."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from weightcut.compression import torchao
from weightcut.compression.method import Context, Requirements
from weightcut.records import Format, Record


class TorchaoInt8Dynamic(Record):
    """Quantize the weights of every linear layer but the head, and its inputs, to 8 bits.

    Weights have one scale for each row, inputs one for each token, found from the token itself, so
    that no calibration is needed; the product is one of integers. Embeddings and norms stay in
    bf16. Source: torchao's Int8DynamicActivationInt8WeightConfig (arXiv:2507.16099).
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "arXiv:2507.16099"

    kind: Literal["torchao-int8-dynamic"] = "torchao-int8-dynamic"

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 8-bit copy."""
        return torchao.requirements(disk_per_weight=1.3)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and write the quantized folder."""
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig

        torchao.compress(source, out, context, Int8DynamicActivationInt8WeightConfig())
