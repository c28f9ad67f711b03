"""LoRA: small updates of low rank are trained, the weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from weightcut.compression import adapters
from weightcut.compression.hf_io import load_causal_lm
from weightcut.compression.method import Context, Requirements
from weightcut.compression.training import device


class LoRA(adapters.AdapterSettings):
    """Train a low-rank update of each layer on text, with the weights frozen in 16 bit.

    Each chosen layer W gets B A beside it, of rank `rank`, scaled by alpha / rank (Hu 2021,
    arXiv:2106.09685). Merged, the model is as large and as fast as before; a kept adapter lies
    beside its base and is opened with it.
    """

    kind: Literal["lora"] = "lora"
    paper: ClassVar[str] = "arXiv:2106.09685"

    def requirements(self) -> Requirements:
        """Return what it needs: the weights, merged ones in float32, and the activations."""
        tokens = self.steps * self.batch_size * self.length
        return Requirements(
            packages=("peft", "torch", "transformers", "accelerate"),
            extra="train",
            memory_per_weight=7.0,
            base_memory=1_000_000_000 + 1_500_000 * self.batch_size * self.length,
            seconds_per_weight=4e-11 * tokens,
            base_seconds=15.0,
            disk_per_weight=3.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Train adapters on the model in `source`; write the merged model, or adapter and base."""
        adapters.adapt(
            self,
            source,
            out,
            context,
            lambda: load_causal_lm(source).to(device()),
            "adamw_torch_fused",
        )
