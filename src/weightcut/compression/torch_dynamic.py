"""8-bit weights with dynamic-range activations, in a torch state dict (.bin or .pt)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import copy_companions, part_of
from weightcut.compression.hf_source import check_finite, check_source_type, linear_layers
from weightcut.compression.method import Context, Requirements
from weightcut.compression.shards import read_tensors
from weightcut.errors import NotHere
from weightcut.models.causal_lm import empty_causal_lm, read_config
from weightcut.models.torch_state import FILES, INT8_METHOD
from weightcut.records import Format, Record

_LARGEST = 127


class TorchDynamic(Record):
    """Round the weights of every linear layer but the head to 8 bits, a scale for each row.

    Activations are rounded to 8 bits as they come, by the range that each batch of them has
    (dynamic-range quantization, as torch.ao.quantization.quantize_dynamic), and multiplied in int8
    by torch's own kernels for CPUs. One range for all tokens of a batch: a single outlier widens
    it for the others, and language models have such outliers; torchao-int8-dynamic has a range for
    each token and loses far less. Embeddings, norms and the head stay as they are. Written are
    plain codes and scales by name, which are read with `weights_only=True`.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "torch"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 8
    paper: ClassVar[str] = "https://docs.pytorch.org/docs/stable/quantization.html"

    kind: Literal["torch-dynamic"] = "torch-dynamic"
    file: Literal["pytorch_model.bin", "model.pt"] = Field(
        "pytorch_model.bin", description="name of the state dict's file"
    )

    def requirements(self) -> Requirements:
        """Return the 8-bit model, which is written at once, and the largest tensor."""
        return Requirements(
            packages=("torch", "transformers"),
            memory_per_weight=2.5,
            base_memory=800_000_000,
            seconds_per_weight=2e-8,
            base_seconds=8.0,
            disk_per_weight=1.2,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Read, check and round one tensor after the other; write them together."""
        import torch

        assert self.file in FILES
        check_source_type(source)
        layers = linear_layers(empty_causal_lm(source))
        state, parts = dict[str, Any](), dict.fromkeys(("embedding", "layers", "head", "other"), 0)
        rounded = []
        for name, tensor in read_tensors(source):
            check_finite(name, tensor, source)
            layer = name.removesuffix(".weight")
            made = {name: tensor}
            if layer in layers and name.endswith(".weight"):
                made = _rounded(name, tensor)
                rounded.append(layer)
                context.progress("rounding layer after layer", len(rounded) / len(layers))
            parts[part_of(name)] += sum(value.nbytes for value in made.values())
            state |= made
        if lost := sorted(set(layers) - set(rounded)):
            raise NotHere(f"no tensor is stored under the name of the layer {lost[0]!r}")
        torch.save(state, out / self.file)
        quantization = {"quant_method": INT8_METHOD, "layers": rounded}
        config = read_config(source) | {"quantization_config": quantization}
        (out / "config.json").write_text(json.dumps(config, indent=2))
        copy_companions(source, out)
        context.record.update(weights={"int8 row": rounded}, bytes_by_part=parts)


def _rounded(name: str, tensor: Any) -> dict[str, Any]:
    """Return a weight's codes and scales by name: int8 [outputs, inputs], float32 [outputs]."""
    import torch

    values = tensor.float()
    scale = values.abs().amax(1) / _LARGEST
    codes = torch.round(values / torch.where(scale == 0, 1, scale)[:, None]).to(torch.int8)
    return {f"{name}.int8": codes, f"{name}.scale": scale}
