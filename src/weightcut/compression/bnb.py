"""What the methods by bitsandbytes share: quantizing while loading, and saving in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import save_causal_lm
from weightcut.compression.hf_source import check_source
from weightcut.compression.method import Context, Requirements
from weightcut.errors import NotHere
from weightcut.models.causal_lm import empty_causal_lm, load_causal_lm
from weightcut.records import Format, Record

BLOCK = 64
_OUTPUTS = 32


class FourBit(Record):
    """What NF4 and FP4 share: everything but the 16 levels."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2305.14314"
    levels: ClassVar[Literal["nf4", "fp4"]]

    double_quant: bool = Field(True, description="quantize the blocks' scales too, to 8 bits")
    compute_dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="type that weights are unpacked to for each product"
    )

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 4-bit copy."""
        return requirements(disk_per_weight=1.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and write the quantized folder."""
        import torch

        context.record["block_size"] = BLOCK
        compress(
            source,
            out,
            context,
            bits=4,
            load_in_4bit=True,
            bnb_4bit_quant_type=self.levels,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=getattr(torch, self.compute_dtype),
        )


def requirements(disk_per_weight: float) -> Requirements:
    """Return the 16-bit model once, and its quantized copy."""
    return Requirements(
        packages=("bitsandbytes", "torch", "transformers"),
        memory_per_weight=3.0,
        base_memory=700_000_000,
        seconds_per_weight=2e-8,
        base_seconds=12.0,
        disk_per_weight=disk_per_weight,
    )


def compress(source: Path, out: Path, context: Context, bits: int, **settings: Any) -> None:
    """Quantize while loading, and save before the first forward.

    On CPUs with AVX512 bitsandbytes repacks 4-bit weights in place at the first forward, in a
    layout that it cannot load again. bits: 4 or 8. settings: of transformers' BitsAndBytesConfig.
    """
    check_source(source)
    odd, head = odd_layers(source) if bits == 4 else ([], [])
    context.progress("quantizing while loading", 0.0)
    model = quantize(source, [*odd, *head] if odd else None, **settings)
    layers = quantized_layers(model)
    if not layers:
        raise NotHere(
            f"a {model.config.model_type} model has no linear layers that bitsandbytes knows",
            place=str(source),
            cure="rtn still applies: it reads the weights alone",
        )
    context.progress("writing", 0.8)
    save_causal_lm(model, source, out)
    context.record.update(
        quantized_layers=len(layers), unquantized_layers=odd, bytes_by_part=bytes_by_part(out)
    )


def quantize(source: Path, exceptions: Sequence[str] | None, **settings: Any) -> Any:
    """Return the model in 16 bit with quantized linear layers.

    exceptions: layers left as they are; None for bitsandbytes' own choice, the head.
    """
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(llm_int8_skip_modules=exceptions, **settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_causal_lm(source, "bfloat16", device=device, quantization=config)


def quantized_layers(model: Any) -> list[str]:
    """Return the names of the linear layers that bitsandbytes holds in 4 or 8 bits."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    kinds = (Linear4bit, Linear8bitLt)
    return [name for name, module in model.named_modules() if isinstance(module, kinds)]


def odd_layers(source: Path) -> tuple[list[str], list[str]]:
    """Return the names of the linear layers whose shapes are no whole blocks, and the head's.

    bitsandbytes cannot run them in 4 bits on CPUs with AVX512.
    """
    import torch

    model = empty_causal_lm(source)
    output = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    odd = [
        name
        for name, module in linear.items()
        if module is not output and (module.in_features % BLOCK or module.out_features % _OUTPUTS)
    ]
    return odd, [name for name, module in linear.items() if module is output]
