"""4-bit weights by AWQ: what strong activations meet is scaled up before it is rounded."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import llm_compressor, scaling
from weightcut.compression.groups import group_sizes
from weightcut.compression.hf_source import linear_layers, load_checked
from weightcut.compression.method import CalibrationText, Context, Requirements
from weightcut.records import Format, Record


class AWQ(Record):
    """Round the weights of every linear layer but the head to 4 bits, salient channels scaled up.

    For each norm or layer and those that follow it, the input channels are scaled by a power of
    their mean strength on calibration text, and what comes before is scaled down by as much; a
    search takes the power after which rounding changes the block's output least. Weights share a
    scale and a zero point in groups; a layer whose inputs the group size does not divide gets the
    largest half, quarter ... of it that does, down to 16, else one scale for each row; the record
    tells which. Activations, embeddings and norms stay in 16 bit. Written in the format of
    compressed-tensors. Source: AWQ, arXiv:2306.00978.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2306.00978"

    kind: Literal["awq"] = "awq"
    group_size: int = Field(128, ge=16, description="weights that share a scale")
    symmetric: bool = Field(False, description="levels symmetric about zero; else with zero points")
    grid: int = Field(20, ge=2, description="powers tried for each block")
    windows: int = Field(16, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    def requirements(self) -> Requirements:
        """Return the 16-bit model and the activations of all windows."""
        passes = 4 + 1.5 * self.grid
        return llm_compressor.requirements(
            self.windows * self.length,
            passes,
            2e-8 * self.grid,
            disk_per_weight=1.0,
            memory_per_weight=4.5,
            window=self.length,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Search the scales block after block, round, and write the packed weights."""
        model = load_checked(source)
        layers = linear_layers(model)
        groups, left = group_sizes(layers, self.group_size, llm_compressor.SMALLEST_GROUP)
        blocks = llm_compressor.windows(model, context, self.windows, self.length, self.text)
        context.progress("searching scales block after block", None)
        with llm_compressor.quiet():
            from llmcompressor.modifiers.quantization import QuantizationModifier
            from llmcompressor.modifiers.transform.awq import AWQModifier

            schemes = llm_compressor.schemes(
                groups, left, num_bits=4, type="int", symmetric=self.symmetric
            )
            modifiers = [
                AWQModifier(n_grid=self.grid),
                QuantizationModifier(config_groups=schemes),
            ]
        with scaling.proven(model, blocks, context):
            llm_compressor.one_shot(model, modifiers, blocks)
        context.progress("writing", 0.95)
        llm_compressor.save_quantized(model, source, out, context)
        context.record["weights"] = llm_compressor.by_kind(groups, left, 4)
