"""Checkpoints for TensorRT-LLM, quantized by NVIDIA's ModelOpt on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import bytes_by_part, copy_companions
from weightcut.compression.hf_source import calibration_length, load_checked, told
from weightcut.compression.method import CALIBRATION, CalibrationText, Context, Requirements
from weightcut.errors import NotHere
from weightcut.records import Format, Record

_CONFIGS = {
    "fp8": "FP8_DEFAULT_CFG",
    "int4_awq": "INT4_AWQ_CFG",
    "int8_sq": "INT8_SMOOTHQUANT_CFG",
    "nvfp4": "NVFP4_DEFAULT_CFG",
}
_BITS = {"fp8": 8, "int4_awq": 4, "int8_sq": 8, "nvfp4": 4}


class TensorRT(Record):
    """Quantize the linear layers for TensorRT-LLM's kernels, with scales from calibration text.

    ModelOpt measures the ranges and writes a Hugging Face folder that the engines tensorrt and
    vllm open. fp8 needs compute capability 8.9 or more, nvfp4 10.0 or more; int4_awq and int8_sq
    run on older cards too. API: https://nvidia.github.io/Model-Optimizer/.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = True
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    paper: ClassVar[str] = "https://nvidia.github.io/Model-Optimizer/"

    kind: Literal["tensorrt"] = "tensorrt"
    mode: Literal["fp8", "int4_awq", "int8_sq", "nvfp4"] = Field(
        "fp8", description="what weights, and but for int4_awq activations, become"
    )
    windows: int = Field(128, ge=1, description="windows of calibration text")
    length: int = Field(512, ge=8, description="tokens of each window")
    text: CalibrationText = "code"

    @property
    def bits(self) -> float | None:
        """Bits of a weight."""
        return _BITS[self.mode]

    def requirements(self) -> Requirements:
        """Return a GPU, and host memory to load and to write the model."""
        return Requirements(
            packages=("modelopt", "torch", "transformers"),
            gpu=True,
            memory_per_weight=2.5,
            base_memory=4_000_000_000,
            seconds_per_weight=2e-8,
            base_seconds=60.0,
            disk_per_weight=1.2,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Calibrate on the GPU and write the checkpoint."""
        import torch

        if not torch.cuda.is_available():
            raise NotHere("tensorrt needs a GPU and torch sees none", cure="use int8 or int4")
        try:
            from modelopt.torch import quantization
            from modelopt.torch.export import export_hf_checkpoint
        except ImportError as error:
            raise NotHere(
                "the package 'modelopt' is not installed", cure="pip install nvidia-modelopt"
            ) from error
        model = load_checked(source).to("cuda")
        blocks = context.texts(
            CALIBRATION[self.text], self.windows, calibration_length(model, self.length)
        )

        def look(seen: Any) -> None:
            for index, row in enumerate(torch.from_numpy(blocks.ids)):
                seen(input_ids=row[None].to("cuda"), use_cache=False)
                context.progress("reading calibration text", 0.9 * (index + 1) / len(blocks.ids))

        with torch.inference_mode():
            settings = getattr(quantization, _CONFIGS[self.mode])
            model = quantization.quantize(model, settings, forward_loop=look)
            export_hf_checkpoint(model, export_dir=str(out))
        copy_companions(source, out)
        context.record.update(mode=self.mode, bytes_by_part=bytes_by_part(out), text=told(blocks))
