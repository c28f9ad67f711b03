"""The sizes of a model that decide what it costs, read without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightcut.models.causal_lm import read_config
from weightcut.models.folder import weights
from weightcut.records import Checkpoint, Record

_LARGEST = 1 << 40  # a size in a config that is above it is no size
_OUTER = ("embed", "wte", "wpe", "lm_head", "output_layer", "word_embeddings")


class Shape(Record):
    """Numbers of weights and widths; 0 where a config does not tell.

    outer: weights of embeddings and head, which most methods leave at 16 bit. largest: those of the
    largest tensor. cache: numbers that the keys and values of one token take in all layers.
    positions: tokens that a text may have in all.
    """

    parameters: int = 0
    outer: int = 0
    largest: int = 0
    layers: int = 0
    hidden: int = 0
    vocabulary: int = 0
    cache: int = 0
    positions: int = 0

    @property
    def inner(self) -> int:
        """Weights of the layers, which methods quantize."""
        return max(0, self.parameters - self.outer)


def shape_of(checkpoint: Checkpoint) -> Shape:
    """Return a checkpoint's shape; of a format without config.json the number of weights alone."""
    if not (checkpoint.path / "config.json").is_file():
        return Shape(parameters=checkpoint.parameters)
    config = read_config(checkpoint.path)
    inside = config.get("text_config")
    read = _sizes(inside if isinstance(inside, dict) else config)
    vocabulary, hidden = read["vocabulary"], read["hidden"]
    tied = config.get("tie_word_embeddings", config.get("model_type") == "gpt2")
    outer = vocabulary * hidden * (1 if tied else 2)
    if checkpoint.format == "hf":
        outer, largest = _stored(checkpoint.path, bool(tied))
    else:
        largest = vocabulary * hidden
    return Shape(
        parameters=checkpoint.parameters,
        outer=min(outer, checkpoint.parameters),
        largest=largest,
        **read,
    )


def _sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden = _number(config, "hidden_size", "n_embd", "d_model")
    layers = _number(config, "num_hidden_layers", "n_layer", "num_layers")
    heads = _number(config, "num_attention_heads", "n_head") or 1
    groups = _number(config, "num_key_value_heads") or (1 if config.get("multi_query") else heads)
    width = _number(config, "head_dim") or hidden // heads
    return {
        "hidden": hidden,
        "layers": layers,
        "vocabulary": _number(config, "vocab_size"),
        "cache": 2 * layers * groups * width,
        "positions": _number(config, "max_position_embeddings", "n_positions"),
    }


def _number(config: Mapping[str, Any], *names: str) -> int:
    """Return the first of a config's entries that is a size, 0 where none is."""
    found = (config.get(name) for name in names)
    good = (n for n in found if isinstance(n, int) and not isinstance(n, bool))
    return next((n for n in good if 0 < n < _LARGEST), 0)


def _stored(folder: Path, tied: bool) -> tuple[int, int]:
    """Return the weights of embeddings and head, tied ones once, and of the largest tensor."""
    outer, largest, head = 0, 0, 0
    for name, info in weights(folder).items():
        largest = max(largest, info.elements)
        if any(part in name for part in _OUTER):
            outer += info.elements
            head = info.elements if "lm_head" in name else head
    return outer - (head if tied and outer > head else 0), largest
