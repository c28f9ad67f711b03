"""4-bit weights by GPTQ: rounding column by column, each mending the error of those before."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.compression import llm_compressor
from weightcut.compression.groups import group_sizes
from weightcut.compression.hf_source import linear_layers, load_checked
from weightcut.compression.method import CalibrationText, Context, Requirements
from weightcut.records import Format, Record


class GPTQ(Record):
    """Round the weights of every linear layer but the head to 4 bits, the outputs least changed.

    Each layer's weights are rounded in the order of their inputs' strength on calibration text,
    and the error of each is spread over those not yet rounded by the inverse Hessian of the
    layer's inputs. Weights share a scale in groups; a layer whose inputs the group size does not
    divide gets the largest half, quarter ... of it that does, down to 16, else one scale for each
    row; the record tells which, and which layers were rounded plainly for want of an invertible
    Hessian. Activations, embeddings and norms stay in 16 bit. Written in the format of
    compressed-tensors. Source: GPTQ, arXiv:2210.17323.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2210.17323"

    kind: Literal["gptq"] = "gptq"
    group_size: int = Field(128, ge=16, description="weights that share a scale")
    symmetric: bool = Field(True, description="levels symmetric about zero; else with zero points")
    dampening: float = Field(
        0.01, gt=0, lt=1, description="added to the Hessian's diagonal, as a share of its mean"
    )
    windows: int = Field(32, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    def requirements(self) -> Requirements:
        """Return the 16-bit model, the activations of all windows, and a layer's Hessians."""
        return llm_compressor.requirements(
            self.windows * self.length, 4, 2e-7, disk_per_weight=1.0, window=self.length
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Calibrate layer after layer, and write the packed weights."""
        model = load_checked(source)
        layers = linear_layers(model)
        groups, left = group_sizes(layers, self.group_size, llm_compressor.SMALLEST_GROUP)
        blocks = llm_compressor.windows(model, context, self.windows, self.length, self.text)
        context.progress("rounding layer after layer", None)
        with llm_compressor.quiet():
            from llmcompressor.modifiers.gptq import GPTQModifier

            modifier = GPTQModifier(
                config_groups=llm_compressor.schemes(
                    groups, left, num_bits=4, type="int", symmetric=self.symmetric
                ),
                dampening_frac=self.dampening,
            )
        # Where a Hessian cannot be inverted llmcompressor rounds without it; it forgets at the end.
        plainly = modifier._rtn_fallback_module_names
        llm_compressor.one_shot(model, [modifier], blocks)
        context.progress("writing", 0.95)
        llm_compressor.save_quantized(model, source, out, context)
        context.record["weights"] = llm_compressor.by_kind(groups, left, 4)
        context.record["rounded_plainly"] = list(plainly)
