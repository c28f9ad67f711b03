"""Weights to 4 bit in groups, with scales chosen on calibration text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import CALIBRATION, CalibrationText, Context, Requirements
from weightcut.compression.nncf_weights import (
    compress_weights,
    group_size_fallback,
    requirements,
)
from weightcut.records import Format, Record

_LARGEST_GROUP = 128


class Int4(Record):
    """Round the weight matrices to 4 bit in groups that share a scale.

    Embedding and output layer are kept in 8 bit unless `all_layers` is set. Each layer has the
    largest group of 128, 64 or 32 weights that divides its input size.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"openvino"})
    produces: ClassVar[Format] = "openvino"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "https://arxiv.org/abs/2306.00978"

    kind: Literal["int4"] = "int4"
    mode: Literal["asym", "sym"] = Field(
        "asym", description="whether a zero point shifts each group's range"
    )
    group_size: int | None = Field(
        None, ge=16, description="weights that share a scale; null: 128, 64 or 32 for each layer"
    )
    ratio: float = Field(1.0, gt=0, le=1, description="share of the weights in 4 bit, rest in 8")
    all_layers: bool = Field(False, description="embedding and output layer in 4 bit too")
    awq: bool = Field(True, description="scale salient channels up first (AWQ)")
    scale_estimation: bool = Field(True, description="choose scales by the error of the outputs")
    gptq: bool = Field(False, description="round column by column, mending the error (GPTQ)")
    windows: int = Field(16, ge=1, description="windows of calibration text")
    length: int = Field(128, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    def requirements(self) -> Requirements:
        """Return what NNCF needs; with data it takes minutes for each billion of weights."""
        return requirements(
            seconds_per_weight=3e-7 if self._with_data() else 2e-8,
            base_seconds=8,
            tokens=self.windows * self.length if self._with_data() else 0,
            outer_bits=4 if self.all_layers else 8,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with 4-bit weights."""
        settings: dict[str, Any] = group_size_fallback(self.group_size or _LARGEST_GROUP)
        if self._with_data():
            context.progress("reading calibration text", 0.0)
            settings["blocks"] = context.texts(CALIBRATION[self.text], self.windows, self.length)
        for name in ("awq", "scale_estimation", "gptq"):
            settings[name] = getattr(self, name) or None
        context.progress("rounding weights to 4 bit", 0.1)
        compress_weights(
            source,
            out,
            context.record,
            mode=f"int4_{self.mode}",
            ratio=self.ratio,
            all_layers=self.all_layers,
            **settings,
        )

    def _with_data(self) -> bool:
        return self.awq or self.scale_estimation or self.gptq or self.ratio < 1
