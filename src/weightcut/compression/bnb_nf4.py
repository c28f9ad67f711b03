"""4-bit weights by bitsandbytes: NF4 or FP4 in blocks of 64, scales quantized again if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import bytes_by_part, copy_companions
from weightcut.compression.hf_io import quiet_transformers, read_config
from weightcut.compression.method import Context, Requirements
from weightcut.errors import BrokenInput, UsageError
from weightcut.records import Format, Record

BLOCK = 64
_OUTPUTS = 32


class BnbNF4(Record):
    """Quantize every linear layer but the head to 4 bits; embeddings and norms stay in bf16.

    A layer whose inputs are no multiple of 64, or outputs of 32, stays in bf16 too: bitsandbytes
    cannot run it on CPUs with AVX512.

    NF4 has the 16 quantiles of a normal distribution as its levels, FP4 a tiny float's. Each block
    of 64 weights has one float32 scale (0.5 bit a weight); double quantization stores the scales
    in 8 bits (0.127 bit a weight). Source: QLoRA, arXiv:2305.14314.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2305.14314"

    kind: Literal["bnb-nf4"] = "bnb-nf4"
    quant_type: Literal["nf4", "fp4"] = Field("nf4", description="the 16 levels of a weight")
    double_quant: bool = Field(True, description="quantize the blocks' scales too, to 8 bits")
    compute_dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="type that weights are unpacked to for each product"
    )

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, and its 4-bit copy."""
        return Requirements(
            packages=("bitsandbytes", "torch", "transformers"),
            memory_per_weight=3.0,
            base_memory=700_000_000,
            seconds_per_weight=2e-8,
            base_seconds=12.0,
            disk_per_weight=1.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize while loading, and save before the first forward.

        On CPUs with AVX512 bitsandbytes repacks its weights in place at the first forward, in a
        layout that it cannot load again.
        """
        if "quantization_config" in read_config(source):
            raise UsageError(
                "the weights are quantized already",
                place=str(source / "config.json"),
                cure="give bnb-nf4 the model as it was before quantization",
            )
        context.progress("quantizing while loading", 0.0)
        odd, head = odd_layers(source)
        # A list of exceptions replaces bitsandbytes' own, which holds the head.
        model = self._load(source, [*odd, *head] if odd else None)
        context.progress("writing", 0.8)
        layers = quantized_layers(model)
        if not layers:
            raise UsageError(
                f"a {model.config.model_type} model has no linear layers that bitsandbytes knows",
                place=str(source),
            )
        with quiet_transformers():
            model.save_pretrained(out)
        (out / "generation_config.json").unlink(missing_ok=True)
        copy_companions(source, out)
        context.record.update(
            quantized_layers=len(layers),
            unquantized_layers=odd,
            block_size=BLOCK,
            bytes_by_part=bytes_by_part(out),
        )

    def _load(self, source: Path, exceptions: list[str] | None) -> Any:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=self.quant_type,
            bnb_4bit_use_double_quant=self.double_quant,
            bnb_4bit_compute_dtype=getattr(torch, self.compute_dtype),
            llm_int8_skip_modules=exceptions,
        )
        with quiet_transformers():
            try:
                model, report = AutoModelForCausalLM.from_pretrained(
                    source,
                    dtype=torch.bfloat16,
                    device_map="cuda" if torch.cuda.is_available() else "cpu",
                    quantization_config=config,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                )
            except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
                raise BrokenInput(f"cannot be loaded: {error}", place=str(source)) from error
        if missing := sorted(report["missing_keys"]):
            raise BrokenInput(f"weights are missing: {', '.join(missing[:5])}", place=str(source))
        return model.eval()


def quantized_layers(model: Any) -> list[str]:
    """Return the names of the linear layers that bitsandbytes holds in 4 bits."""
    from bitsandbytes.nn import Linear4bit

    return [name for name, module in model.named_modules() if isinstance(module, Linear4bit)]


def odd_layers(source: Path) -> tuple[list[str], list[str]]:
    """Return the names of the linear layers whose shapes are no whole blocks, and the head's."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(source, local_files_only=True)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise BrokenInput(f"cannot be loaded: {error}", place=str(source)) from error
    output = model.get_output_embeddings()
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    odd = [
        name
        for name, module in linear.items()
        if module is not output and (module.in_features % BLOCK or module.out_features % _OUTPUTS)
    ]
    return odd, [name for name, module in linear.items() if module is output]
