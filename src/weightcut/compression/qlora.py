"""QLoRA: LoRA on weights that are frozen in 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression import adapters, bnb
from weightcut.compression.hf_io import quiet_transformers, save_causal_lm
from weightcut.compression.method import Context, Requirements


class QLoRA(adapters.AdapterSettings):
    """Train a low-rank update of each layer on text, with the weights frozen in NF4.

    The base is quantized to 4-bit NormalFloat with its scales quantized again; activations are
    computed anew in the backward pass instead of kept; on a GPU the optimizer's state is paged to
    main memory where the card's runs short (Dettmers 2023, arXiv:2305.14314). Merged, the update
    is added to the 16-bit weights; a kept adapter lies beside the NF4 base that it was trained on.
    """

    kind: Literal["qlora"] = "qlora"
    double_quant: bool = Field(True, description="quantize the blocks' scales too, to 8 bits")
    gradient_checkpointing: bool = Field(
        True, description="compute activations anew for the backward pass: less memory, more time"
    )
    paged_optimizer: bool = Field(
        True, description="let the optimizer's state move to main memory (GPUs alone)"
    )

    paper: ClassVar[str] = "arXiv:2305.14314"

    def requirements(self) -> Requirements:
        """Return what it needs: the weights in 16 bit while they are quantized or merged."""
        tokens = self.steps * self.batch_size * self.length
        return Requirements(
            packages=("bitsandbytes", "peft", "torch", "transformers", "accelerate"),
            extra="train",
            memory_per_weight=7.0,
            base_memory=1_000_000_000 + 600_000 * self.batch_size * self.length,
            seconds_per_weight=1e-10 * tokens,
            base_seconds=25.0,
            disk_per_weight=3.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Train adapters on the quantized model; write the merged model, or adapter and base."""
        adapters.adapt(
            self,
            source,
            out,
            context,
            lambda: self._base(source),
            self._optimizer(context),
            lambda folder: save_causal_lm(self._quantized(source), source, folder),
        )

    def _quantized(self, source: Path) -> Any:
        import torch

        odd, head = bnb.odd_layers(source)
        return bnb.quantize(
            source,
            [*odd, *head] if odd else None,
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )

    def _base(self, source: Path) -> Any:
        """Return the quantized model, ready to be trained through."""
        with quiet_transformers():
            from peft import prepare_model_for_kbit_training

            return prepare_model_for_kbit_training(
                self._quantized(source),
                use_gradient_checkpointing=self.gradient_checkpointing,
                gradient_checkpointing_kwargs={"use_reentrant": False},
            )

    def _optimizer(self, context: Context) -> str:
        import torch

        if not self.paged_optimizer or torch.cuda.is_available():
            return "paged_adamw_32bit" if self.paged_optimizer else "adamw_torch_fused"
        warning = "there is no GPU to page from: the optimizer is AdamW, unpaged"
        context.progress(warning, None)
        context.record.setdefault("warnings", []).append(warning)
        return "adamw_torch_fused"
