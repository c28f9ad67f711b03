"""Cut and save Hugging Face causal language models, whatever their family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weightcut.compression.files import copy_companions
from weightcut.errors import NotHere
from weightcut.models.causal_lm import load_causal_lm as load_causal_lm
from weightcut.models.causal_lm import quiet_transformers as quiet_transformers
from weightcut.models.causal_lm import read_config as read_config

# Lists in a config that may happen to be as long as the model is deep, but say nothing of layers.
_NOT_PER_LAYER = ("architectures", "id", "ids", "keys_to_ignore_at_inference")


def save_causal_lm(model: Any, source: Path, out: Path) -> None:
    """Write weights and config of `model` to `out`, and the companions of `source` beside them.

    Tied weights are stored once. The generation config is the source's own, byte for byte.
    """
    with quiet_transformers():
        if model.can_generate():
            from transformers import GenerationConfig

            # One that contradicts itself, as older models have them, would not be written.
            model.generation_config = GenerationConfig()
        model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    copy_companions(source, out)


def decoder_layers(model: Any) -> tuple[Any, str, Any]:
    """Return the module that holds the decoder's layers, the attribute's name, and the ModuleList.

    It is the one ModuleList of blocks as long as the config says the decoder is deep.
    """
    from torch import nn

    depth = text_config(model).num_hidden_layers
    found = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == depth
    ]
    if len(found) != 1:
        raise NotHere(
            f"found {len(found)} stacks of {depth} layers in a {model.config.model_type} model, "
            "expected one",
            cure="wanda, sparsegpt and magnitude still apply: they leave the layers in their place",
        )
    return found[0]


def remove_layers(model: Any, removed: Sequence[int]) -> None:
    """Take the decoder layers of these indices out of `model`, in place, its config included.

    What remains is renumbered from 0: each layer's cache slot (`layer_idx`), the depth in the
    config under whatever name the family gives it, and every list with one entry per layer.
    """
    from torch import nn

    holder, name, layers = decoder_layers(model)
    config = text_config(model)
    kept = [index for index in range(len(layers)) if index not in set(removed)]
    for key, value in list(vars(config).items()):
        if _is_per_layer(key, value, len(layers)):
            setattr(config, key, type(value)(value[index] for index in kept))
    config.num_hidden_layers = len(kept)
    setattr(holder, name, nn.ModuleList([layers[index] for index in kept]))
    for position, layer in enumerate(getattr(holder, name)):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = position


def text_config(model: Any) -> Any:
    """Return the part of the model's config that describes the text decoder."""
    return model.config.get_text_config(decoder=True)


def _is_per_layer(key: str, value: Any, depth: int) -> bool:
    """Whether a config entry is a list with one entry per layer."""
    if not isinstance(value, list | tuple) or len(value) != depth:
        return False
    return key not in _NOT_PER_LAYER and key.rpartition("_")[2] not in _NOT_PER_LAYER
