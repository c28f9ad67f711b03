"""Folders whose weights are a torch state dict (.bin or .pt), read without running any code.

A folder holds `config.json`, the tokenizer, and one state dict: tensors by name, nothing else.
Where the config's `quantization_config` has the `quant_method` `int4-groups`, it names the linear
layers that are stored in 4 bits and their group sizes. Such a layer has, instead of `weight`,

- `weight.int4`: uint8 [outputs, inputs / 2]; two weights in a byte, the one of lower index in the
  high half,
- `weight.scale`: [outputs, inputs / group size] and `weight.zero`, the same; a weight is
  `(q - 8) * scale + zero`.

With the `quant_method` `int8-dynamic` it names the layers stored in 8 bits, which have instead
`weight.int8`: int8 [outputs, inputs], and `weight.scale`: [outputs]; a weight is `q * scale`.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, NotHere, missing_extra
from weightcut.models.causal_lm import empty_causal_lm, read_config

FILES = ("pytorch_model.bin", "model.pt")
METHOD = "int4-groups"
INT8_METHOD = "int8-dynamic"
_CHECK = "weightcut reads tensors by name and nothing else from it"
# Masks and rotary frequencies, which older versions of transformers stored beside the weights.
_COMPUTED = (
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
    ".rotary_emb.inv_freq",
)


def read_state(folder: Path) -> dict[str, Any]:
    """Return the tensors of a folder's state dict, mapped from the file where that is possible.

    BrokenInput for a file that is damaged, holds anything but tensors, or wants to run code.
    """
    import torch

    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise BrokenInput(f"the folder lacks {' or '.join(FILES)}", place=str(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a plain pickle is no file of torch
            mapped = zipfile.is_zipfile(path)  # older files of torch are none
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise BrokenInput(
            f"it asks for more than tensors, which could run code: {_first_line(error)}",
            place=str(path),
            cure="do not open it; ask for the model as safetensors",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
        raise BrokenInput(
            f"is no intact torch state dict: {_first_line(error)}", place=str(path)
        ) from error
    if not isinstance(state, Mapping) or not all(_is_entry(*pair) for pair in state.items()):
        raise BrokenInput(f"is no state dict; {_CHECK}", place=str(path))
    return dict(state)


def is_state_folder(folder: Path) -> bool:
    """Return whether a folder has a torch state dict and no safetensors."""
    return not any(folder.glob("*.safetensors")) and any((folder / f).is_file() for f in FILES)


def is_computed(name: str) -> bool:
    """Return whether an entry of a state dict is one that models compute and no longer store."""
    return f".{name}".endswith(_COMPUTED)


def load_torch_lm(folder: Path, dtype: str, device: str = "cpu") -> Any:
    """Return the causal LM of such a folder, in evaluation mode.

    dtype: torch type of activations and of weights that are not quantized. NotHere for 4-bit
    weights on a GPU: their kernel is one for CPUs.
    """
    import torch

    config = read_config(folder)
    quantization = config.get("quantization_config")
    rows = _rows(folder, quantization)
    groups = {} if rows else _groups(folder, quantization)
    if (groups or rows) and device != "cpu":
        raise NotHere("these quantized weights can be opened on a CPU only", cure="use device: cpu")
    model = empty_causal_lm(folder, with_buffers=True)
    state = read_state(folder)
    kind = getattr(torch, dtype)
    modules = dict(model.named_modules())
    for name, group in groups.items():
        layer = _linear(modules, name, folder)
        layer.weight = _int4_weight(folder, state, name, layer, group, kind)
    for name in rows:
        layer = _linear(modules, name, folder)
        parent = model.get_submodule(name.rpartition(".")[0])
        made = _dynamic_linear(folder, state, name, layer, kind)
        setattr(parent, name.rpartition(".")[2], made)
    plain = {
        name: value.to(kind) if value.is_floating_point() else value
        for name, value in state.items()
    }
    try:
        report = model.load_state_dict(plain, strict=False, assign=True)
    except RuntimeError as error:
        raise BrokenInput(
            f"the weights do not fit the config: {_first_line(error)}", place=str(folder)
        ) from error
    model.tie_weights()
    empty = [name for name, value in model.named_parameters() if value.is_meta]
    unknown = [name for name in report.unexpected_keys if not is_computed(name)]
    if empty or unknown:
        what = f"lack {empty[0]!r}" if empty else f"hold the unknown {unknown[0]!r}"
        raise BrokenInput(f"the weights {what}", place=str(folder))
    return model.requires_grad_(False).to(device).eval()


def _groups(folder: Path, quantization: Any) -> dict[str, int]:
    """Return the layers in 4 bits with their group sizes, as the config tells them."""
    if quantization is None:
        return {}
    place = str(folder / "config.json")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != METHOD:
        raise BrokenInput(
            "its quantization is none that a state dict is known to have", place=place
        )
    groups = quantization.get("group_sizes")
    good = isinstance(groups, dict) and all(
        type(v) is int and v in (32, 64, 128, 256) for v in groups.values()
    )
    if not good:
        raise BrokenInput("its group_sizes are not 32, 64, 128 or 256 by layer", place=place)
    return dict(groups or {})


def _rows(folder: Path, quantization: Any) -> list[str]:
    """Return the layers in 8 bits with a scale for each row, as the config tells them."""
    if not isinstance(quantization, dict) or quantization.get("quant_method") != INT8_METHOD:
        return []
    layers = quantization.get("layers")
    if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
        raise BrokenInput("its quantized layers are no list", place=str(folder / "config.json"))
    return layers


def _linear(modules: Mapping[str, Any], name: str, folder: Path) -> Any:
    import torch

    layer = modules.get(name)
    if not isinstance(layer, torch.nn.Linear):
        raise BrokenInput(f"the model has no linear layer {name!r}", place=str(folder))
    return layer


def _dynamic_linear(folder: Path, state: dict[str, Any], name: str, layer: Any, kind: Any) -> Any:
    """Take a layer's parts out of `state` and return a module that multiplies them in int8."""
    import torch

    try:
        codes, scale = (state.pop(f"{name}.weight.{part}") for part in ("int8", "scale"))
    except KeyError as error:
        raise BrokenInput(f"the weights lack {error.args[0]!r}", place=str(folder)) from error
    bias = state.pop(f"{name}.bias", None)
    shape = (layer.out_features, layer.in_features)
    if (
        codes.dtype != torch.int8
        or tuple(codes.shape) != shape
        or tuple(scale.shape) != shape[:1]
        or (bias is None) != (layer.bias is None)
        or (bias is not None and tuple(bias.shape) != shape[:1])
    ):
        raise BrokenInput(f"the parts of {name!r} do not fit each other", place=str(folder))
    zeros = torch.zeros(shape[0], dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a later torch than the one allowed drops these types
        weight = torch._make_per_channel_quantized_tensor(codes, scale.double(), zeros, 0)
        packed = torch.ops.quantized.linear_prepack(weight, None if bias is None else bias.float())
    # Without VNNI two products of 8 bits can overflow the 16 that their sum has.
    seven_bits = not torch.cpu._is_vnni_supported()

    class DynamicLinear(torch.nn.Module):  # type: ignore[misc]
        in_features, out_features = layer.in_features, layer.out_features

        def forward(self, inputs: Any) -> Any:
            done = torch.ops.quantized.linear_dynamic(inputs.float(), packed, seven_bits)
            return done.to(kind)

    return DynamicLinear()


def _int4_weight(
    folder: Path, state: dict[str, Any], name: str, layer: Any, group: int, kind: Any
) -> Any:
    """Take a layer's parts out of `state` and return them as the parameter its kernel works on."""
    import torch

    try:
        from torchao.prototype.quantization.int4.int4_opaque_tensor import Int4OpaqueTensor
    except ImportError as error:
        raise missing_extra("torchao", "compress") from error
    outputs, inputs = layer.out_features, layer.in_features
    try:
        packed, scale, zero = (
            state.pop(f"{name}.weight.{part}") for part in ("int4", "scale", "zero")
        )
    except KeyError as error:
        raise BrokenInput(f"the weights lack {error.args[0]!r}", place=str(folder)) from error
    shape = (outputs, inputs // group)
    if (
        inputs % group
        or packed.dtype != torch.uint8
        or tuple(packed.shape) != (outputs, inputs // 2)
        or tuple(scale.shape) != shape
        or tuple(zero.shape) != shape
    ):
        raise BrokenInput(f"the parts of {name!r} do not fit each other", place=str(folder))
    codes = torch.stack((packed >> 4, packed & 15), dim=-1).reshape(outputs, inputs)
    both = torch.stack((scale, zero), dim=-1).transpose(0, 1).to(kind).contiguous()
    weight = Int4OpaqueTensor(
        torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1),
        both,
        [1, group],
        torch.Size((outputs, inputs)),
    )
    return torch.nn.Parameter(weight, requires_grad=False)


def _is_entry(name: Any, value: Any) -> bool:
    import torch

    return isinstance(name, str) and type(value) in (torch.Tensor, torch.nn.Parameter)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
