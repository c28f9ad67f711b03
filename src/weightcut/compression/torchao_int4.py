"""4-bit weights by torchao's primitives, in a torch state dict that any CPU can open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression import torchao
from weightcut.compression.files import copy_companions, part_of
from weightcut.compression.groups import group_sizes
from weightcut.compression.hf_source import linear_layers, load_checked
from weightcut.compression.method import Context, Requirements
from weightcut.models.causal_lm import read_config
from weightcut.models.torch_state import FILES, METHOD
from weightcut.records import Format, Record

_SMALLEST_GROUP = 32  # of the kernel; its others are 64, 128 and 256


class TorchaoInt4(Record):
    """Quantize every linear layer but the head to 4 bits in groups with a scale and a zero point.

    Embeddings, norms and the head stay in bf16. A layer whose inputs the group size does not
    divide gets the largest half, quarter ... of it that does, from 32 on; one that none divides
    stays in bf16. Written are the plain 4-bit codes; they are put into the order of this CPU's
    kernel when the model is opened. `hqq` chooses each group's scale and zero point for the least
    error with a norm below 1 (https://mobiusml.github.io/hqq_blog), `minmax` by its range alone.
    Source: torchao's prototype Int4WeightOnlyConfig for CPUs (arXiv:2507.16099).
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "torch"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = 4
    paper: ClassVar[str] = "arXiv:2507.16099"

    kind: Literal["torchao-int4"] = "torchao-int4"
    group_size: Literal[32, 64, 128, 256] = Field(
        64, description="weights that share a scale and a zero point"
    )
    scales: Literal["hqq", "minmax"] = Field("hqq", description="how they are chosen")

    def requirements(self) -> Requirements:
        """Return the 16-bit model once, its 4-bit copy, and one layer in 32 bit."""
        return torchao.requirements(disk_per_weight=1.0)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Quantize layer after layer, and write the state dict and its config."""
        import torch

        model = load_checked(source, "bfloat16")
        layers = linear_layers(model)
        groups, left = group_sizes(layers, self.group_size, _SMALLEST_GROUP)
        state, tied = dict[str, Any](), set(model.all_tied_weights_keys)
        with torch.inference_mode(), torchao.quiet():
            for index, (name, group) in enumerate(groups.items()):
                context.progress("quantizing layer after layer", 0.9 * index / len(groups))
                for part, value in self._parts(layers[name].weight, group).items():
                    state[f"{name}.weight.{part}"] = value
        for name, value in model.state_dict().items():
            if name not in tied and name.removesuffix(".weight") not in groups:
                state[name] = value.clone()
        context.progress("writing", 0.9)
        torch.save(state, out / FILES[0])
        _write_config(source, out, groups)
        copy_companions(source, out)
        parts = {"embedding": 0, "layers": 0, "head": 0, "other": 0}
        for name, value in state.items():
            parts[part_of(name)] += value.nbytes
        context.record.update(group_sizes=groups, unquantized_layers=left, bytes_by_part=parts)

    def _parts(self, weight: Any, group: int) -> dict[str, Any]:
        """Return a weight's codes, two in a byte, and the scale and zero point of its groups."""
        import torch
        from torchao.quantization import quant_primitives as ao

        if self.scales == "hqq":
            codes, scale, zero, _ = ao._choose_qparams_and_quantize_affine_hqq(
                weight, nbits=4, group_size=group, axis=1,
                compute_dtype=weight.dtype, device=weight.device,
            )  # fmt: skip
        else:
            block, kind = [1, group], torch.int32
            scale, zero = ao._choose_qparams_affine_tinygemm(
                weight, ao.MappingType.ASYMMETRIC, block, kind, 0, 15, 1e-6, None, weight.dtype
            )
            codes = ao._quantize_affine_tinygemm(weight, block, scale, zero, kind, 0, 15)
        rows = weight.shape[0]
        codes = codes.reshape(rows, -1).to(torch.uint8)
        return {
            "int4": codes[:, ::2] << 4 | codes[:, 1::2],
            "scale": scale.reshape(rows, -1).contiguous(),
            "zero": zero.reshape(rows, -1).contiguous(),
        }


def _write_config(source: Path, out: Path, groups: dict[str, int]) -> None:
    quantization = {"quant_method": METHOD, "group_sizes": groups}
    config = read_config(source) | {"dtype": "bfloat16", "quantization_config": quantization}
    (out / "config.json").write_text(json.dumps(config, indent=2))
