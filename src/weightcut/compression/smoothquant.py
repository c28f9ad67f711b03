"""8-bit weights and activations by SmoothQuant: outliers of one shared out to the other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import llm_compressor, scaling
from weightcut.compression.hf_source import linear_layers, load_checked
from weightcut.compression.method import CalibrationText, Context, Requirements
from weightcut.records import Format, Record


class SmoothQuant(Record):
    """Quantize the weights of every linear layer but the head, and its inputs, to 8 bits.

    First the input channels with outliers on calibration text are scaled down and the weights that
    meet them up, by the geometric mean of both ranges (weighted by `strength`), so that both
    round well. Then weights have one scale for each row, inputs one for each token, found as the
    model runs. Embeddings, norms and the head stay in 16 bit. Written in the format of
    compressed-tensors. Source: SmoothQuant, arXiv:2211.10438.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "arXiv:2211.10438"

    kind: Literal["smoothquant"] = "smoothquant"
    strength: float = Field(
        0.5, ge=0, le=1, description="0 leaves all to the activations, 1 to the weights"
    )
    windows: int = Field(32, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    def requirements(self) -> Requirements:
        """Return the 16-bit model and the activations of all windows."""
        return llm_compressor.requirements(
            self.windows * self.length, 3, 3e-8, disk_per_weight=1.3, window=self.length
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Smooth block after block, round, and write the 8-bit weights."""
        model = load_checked(source)
        layers = list(linear_layers(model))
        blocks = llm_compressor.windows(model, context, self.windows, self.length, self.text)
        context.progress("smoothing block after block", None)
        with llm_compressor.quiet():
            from compressed_tensors.quantization import preset_name_to_scheme
            from llmcompressor.modifiers.quantization import QuantizationModifier
            from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

            schemes = {"rows": preset_name_to_scheme("W8A8", layers)}
            modifiers = [
                SmoothQuantModifier(
                    smoothing_strength=self.strength, mappings=scaling.norm_mappings(model)
                ),
                QuantizationModifier(config_groups=schemes),
            ]
        with scaling.proven(model, blocks, context):
            llm_compressor.one_shot(model, modifiers, blocks)
        context.progress("writing", 0.95)
        llm_compressor.save_quantized(model, source, out, context)
        context.record["weights"] = {"int8, inputs int8": layers}
