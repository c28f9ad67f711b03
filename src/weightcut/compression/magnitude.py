"""Magnitude pruning: the smallest weights of each layer become zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from weightcut.compression import sparse
from weightcut.compression.files import copy_companions
from weightcut.compression.hf_source import check_finite, check_source_type
from weightcut.compression.method import Context, Requirements
from weightcut.compression.shards import ShardWriter, read_tensors
from weightcut.errors import NotHere
from weightcut.models.causal_lm import empty_causal_lm
from weightcut.records import Format, Record


class Magnitude(Record):
    """Set the weights of smallest magnitude in every linear layer but the head to zero.

    In each layer alike, without any data. With a pattern, the smallest two of every four
    neighbouring inputs' weights (2:4) or four of eight (4:8). The result is stored dense: zeros
    bring neither size nor speed on the engines here. It reads and writes tensor after tensor, so
    that it needs little memory. Source: Han et al., arXiv:1506.02626.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = "arXiv:1506.02626"

    kind: Literal["magnitude"] = "magnitude"
    sparsity: float = Field(0.5, gt=0, lt=1, description="share of the weights that become zero")
    pattern: sparse.Pattern = Field(
        None, description="weights left of each group of neighbours; null: anywhere in the layer"
    )

    @model_validator(mode="after")
    def _pattern_fits(self) -> Self:
        sparse.check_pattern(self.pattern, self.sparsity)
        return self

    def requirements(self) -> Requirements:
        """Return what little it needs: it grows with the largest tensor."""
        return Requirements(
            packages=("torch", "transformers"),
            memory_per_weight=0.5,
            base_memory=800_000_000,
            seconds_per_weight=3e-8,
            base_seconds=8.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Read, check, prune and write one tensor after the other."""
        check_source_type(source)
        model = empty_causal_lm(source)
        inputs = input_axes(model)
        sparse.check_widths(self.pattern, ((n, width) for n, (_, width) in inputs.items()))
        writer, zeros = ShardWriter(out), dict[str, float]()
        for name, tensor in read_tensors(source):
            check_finite(name, tensor, source)
            layer = name.removesuffix(".weight")
            if layer in inputs:
                context.progress("pruning layer after layer", len(zeros) / len(inputs))
                axis = inputs[layer][0]
                rows = self._pruned(tensor.movedim(axis, -1))
                zeros[layer] = sparse.check_zeros(layer, rows, self.sparsity, self.pattern)
                tensor = rows.movedim(-1, axis)
            writer.add(name, tensor)
        writer.close()
        if len(zeros) < len(inputs):
            lost = next(name for name in inputs if name not in zeros)
            raise NotHere(f"no tensor is stored under the name of the layer {lost}")
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        copy_companions(source, out)
        sparse.tell(context, out, zeros, self.sparsity, self.pattern)

    def _pruned(self, rows: Any) -> Any:
        """Return a weight, [outputs, inputs], with its zeros."""
        import torch

        if self.pattern is not None:
            size = int(self.pattern.partition(":")[2])
            groups = rows.reshape(-1, size)
            smallest = torch.argsort(groups.abs().float(), dim=1, stable=True)[:, : size // 2]
            return groups.scatter(1, smallest, 0).reshape(rows.shape)
        flat = rows.reshape(-1)
        count = round(self.sparsity * flat.numel())
        if count == 0:
            return rows
        sizes = flat.abs().float()
        limit = sizes.kthvalue(count).values
        gone = sizes < limit
        equal = (sizes == limit).nonzero()[: count - int(gone.sum())]
        gone[equal] = True
        return flat.masked_fill(gone, 0).reshape(rows.shape)


def input_axes(model: Any) -> dict[str, tuple[int, int]]:
    """Return the axis of the inputs and their number for each linear layer but the head, by name.

    Conv1D, as GPT-2 has it, is a linear layer with its weight the other way round.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, nn.Linear):
            found[name] = (1, module.in_features)
        elif isinstance(module, Conv1D):
            found[name] = (0, module.nx)
    if not found:
        raise NotHere(
            f"a {model.config.model_type} model has no linear layers",
            cure="rtn still applies: it reads the weights alone",
        )
    return found
