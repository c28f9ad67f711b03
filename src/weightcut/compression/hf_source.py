"""What a method asks of a Hugging Face folder before it compresses it, and says of what it kept."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightcut.compression.shards import read_tensors
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models.causal_lm import is_known, load_causal_lm, read_config
from weightcut.records import TokenBlocks


def check_source(folder: Path) -> None:
    """Refuse, before anything expensive, a folder whose weights a method must not work on.

    UsageError where they are quantized already, NotHere where transformers knows no such model,
    BrokenInput where a tensor holds NaN or infinite values.
    """
    check_source_type(folder)
    for name, tensor in read_tensors(folder):
        check_finite(name, tensor, folder)


def check_source_type(folder: Path) -> None:
    """Refuse quantized weights, and a type of model that transformers does not know."""
    check_unquantized(folder)
    config = read_config(folder)
    if not is_known(config):
        raise NotHere(
            f"transformers {version('transformers')} has no causal language model of the type "
            f"{config.get('model_type')!r}",
            place=str(folder / "config.json"),
            cure="rtn still applies: it reads the weights alone and needs no model code",
        )


def check_unquantized(folder: Path) -> None:
    """Refuse a folder whose config says that its weights are quantized."""
    if read_config(folder).get("quantization_config") is not None:
        raise UsageError(
            "the weights are quantized already",
            place=str(folder / "config.json"),
            cure="compress the model as it was before quantization",
        )


def check_finite(name: str, tensor: Any, folder: Path) -> None:
    """Refuse a tensor with NaN or infinite values; float8 and integers cannot be asked."""
    import torch

    if not tensor.is_floating_point() or tensor.element_size() == 1:
        return
    if bad := int((~torch.isfinite(tensor)).sum()):
        raise BrokenInput(
            f"the tensor {name!r} is NaN or infinite in {bad} of its {tensor.numel()} places",
            place=str(folder),
            cure="get the model again; such weights can only give such answers",
        )


def load_checked(folder: Path, dtype: str = "auto") -> Any:
    """Return the unquantized model of a folder after `check_source`."""
    check_source(folder)
    return load_causal_lm(folder, dtype)


def linear_layers(model: Any) -> dict[str, Any]:
    """Return the linear layers by name, in order, without the one that gives the logits.

    NotHere for a family that has none (GPT-2 keeps its weights in Conv1D modules).
    """
    from torch import nn

    head = model.get_output_embeddings()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }
    if not found:
        raise NotHere(
            f"a {model.config.model_type} model has no linear layers of the kind that this method "
            "works on",
            cure="bnb-nf4, bnb-fp4, bnb-int8 and magnitude also know the Conv1D layers of GPT-2",
        )
    return found


def calibration_length(model: Any, length: int) -> int:
    """Return the length of calibration windows: as asked, or as many positions as there are."""
    config = model.config.get_text_config(decoder=True)
    return min(length, getattr(config, "max_position_embeddings", None) or length)


def told(blocks: TokenBlocks) -> dict[str, Any]:
    """Return what an artifact's record says of its calibration text."""
    windows, length = blocks.ids.shape
    return {
        "source": blocks.source, "digest": blocks.digest, "windows": windows, "length": length,
    }  # fmt: skip
