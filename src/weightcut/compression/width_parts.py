"""The inner widths of a decoder layer: what makes them, what reads them, and how to narrow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weightcut.compression.hf_io import text_config
from weightcut.errors import NotHere

# Who makes a layer's inner activations, and who reads them, as the families name them.
_MLPS = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("fc1",), "fc2"),
    (("c_fc",), "c_proj"),
    (("dense_h_to_4h",), "dense_4h_to_h"),
)
_READERS = ("o_proj", "dense", "out_proj")
_WIDTHS = ("intermediate_size", "ffn_hidden_size", "n_inner")
STILL = "prune-depth, wanda, sparsegpt and magnitude still apply"


@dataclass(frozen=True)
class Inner:
    """A width inside a layer: the linear layers that make it, and the one that reads it."""

    makers: tuple[Any, ...]
    reader: Any


def mlp_of(layer: Any, kind: str) -> Inner:
    """Return the inner channels of a layer's one MLP; NotHere where there is none that is known."""
    found = [
        Inner(tuple(getattr(module, name) for name in makers), getattr(module, reader))
        for module in layer.modules()
        for makers, reader in _MLPS
        if all(is_linear(getattr(module, name, None)) for name in (*makers, reader))
    ]
    if len(found) != 1:
        raise NotHere(
            f"found {len(found)} MLPs of a known form in a layer of a {kind} model, expected one",
            cure=STILL,
        )
    return found[0]


def attention_of(layer: Any, kind: str) -> Inner:
    """Return the heads of a layer's attention; the makers are q, k and v, each on its own."""
    for module in layer.modules():
        makers = tuple(getattr(module, name, None) for name in ("q_proj", "k_proj", "v_proj"))
        readers = [getattr(module, name, None) for name in _READERS]
        reader = next((one for one in readers if is_linear(one)), None)
        if all(map(is_linear, makers)) and reader is not None:
            return Inner(makers, reader)
    raise NotHere(
        f"the attention of a {kind} model has no separate q, k and v layers",
        cure=f"prune-width with groups=0 prunes its MLPs alone; {STILL}",
    )


def is_linear(module: Any) -> bool:
    """Return whether it is a plain linear layer: torch's, or GPT-2's Conv1D."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, nn.Linear | Conv1D)


def matrix(linear: Any) -> Any:
    """Return a linear layer's weight as [outputs, inputs]."""
    from torch import nn

    return linear.weight if isinstance(linear, nn.Linear) else linear.weight.T


def keep_outputs(linear: Any, kept: Any) -> None:
    """Cut a linear layer down to the outputs of these indices, in place."""
    _put(linear, matrix(linear)[kept])
    if linear.bias is not None:
        linear.bias = type(linear.bias)(linear.bias.detach()[kept].clone(), requires_grad=False)


def keep_inputs(linear: Any, weight: Any) -> None:
    """Give a linear layer a narrower weight [outputs, inputs], in place; its bias stays."""
    _put(linear, weight)


def _put(linear: Any, weight: Any) -> None:
    from torch import nn

    value = weight.detach().to(linear.weight.dtype).contiguous()
    outputs, inputs = value.shape
    if isinstance(linear, nn.Linear):
        linear.out_features, linear.in_features = outputs, inputs
    else:
        linear.nf, linear.nx, value = outputs, inputs, value.T.contiguous()
    linear.weight = nn.Parameter(value, requires_grad=False)


def one_width(inners: Sequence[Inner], kind: str) -> int:
    """Return the inner width that all layers share; NotHere where they differ."""
    widths = {matrix(inner.reader).shape[1] for inner in inners}
    if len(widths) != 1:
        raise NotHere(f"the layers of a {kind} model differ in their inner widths", cure=STILL)
    return int(widths.pop())


def set_channels(model: Any, before: int, after: int) -> None:
    """Write the MLPs' new width into the config, under the name that the family gives it."""
    config = text_config(model)
    for name in _WIDTHS:
        if hasattr(config, name) and getattr(config, name) in (before, None):
            setattr(config, name, after)
            return
    raise NotHere(
        f"the config of a {model.config.model_type} model does not tell the width of its MLPs",
        cure=STILL,
    )


def set_heads(model: Any, queries: int, keys: int, size: int) -> None:
    """Write the numbers of heads into the config; a head keeps its size, which is told as well."""
    config = text_config(model)
    config.num_attention_heads = queries
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads = keys
    config.head_dim = size
