"""Checkpoints of real models' shapes with random weights, written piece by piece.

Usage: python benchmarks/shapes.py NAME FOLDER

A shape is a family of transformers and its sizes. The weights are random numbers of a trained
model's scale, in bfloat16, and are never all in memory; the tokenizer is that of the bundled model.
What such a model answers means nothing: it is for sizes, times and memory.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from weightcut.compression.files import copy_companions
from weightcut.compression.shards import ShardWriter
from weightcut.models.bundled import BUNDLED
from weightcut.models.causal_lm import empty_causal_lm
from weightcut.models.resolve import resolve

_LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49_152}
_QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151_936}
_BLOCK = 1 << 24  # random numbers drawn at a time; longer tensors repeat them


def _sizes(hidden: int, inner: int, layers: int, heads: int, groups: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }


SHAPES: dict[str, dict[str, Any]] = {
    "gpt2-124m": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": 50_257,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_positions": 1024,
    },
    "llama-360m": {**_LLAMA, **_sizes(960, 2560, 32, 15, 5), "tie_word_embeddings": True},
    "qwen2-0.5b": {**_QWEN, **_sizes(896, 4864, 24, 14, 2), "tie_word_embeddings": True},
    "llama-1b": {**_LLAMA, **_sizes(2048, 5632, 22, 32, 4), "vocab_size": 32_000},
    "llama-3b": {**_LLAMA, **_sizes(3200, 8640, 26, 32, 32), "vocab_size": 32_000},
    "llama-7b": {**_LLAMA, **_sizes(4096, 11_008, 32, 32, 32), "vocab_size": 32_000},
    "llama-16b": {**_LLAMA, **_sizes(5120, 14_336, 48, 40, 40), "vocab_size": 32_000},
}


def write_shape(name: str, folder: Path, seed: int = 0, layers: int | None = None) -> Path:
    """Write a random checkpoint of a shape into a folder and return it; layers: fewer of them."""
    import torch

    tokens = resolve(next(iter(BUNDLED))).path
    config = SHAPES[name] | ({"num_hidden_layers": layers} if layers else {})
    ends = json.loads((tokens / "config.json").read_text())
    marks = {key: ends.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    # A vocabulary smaller than the tokenizer's would break its ids: the embedding is made larger.
    size = max(config["vocab_size"], ends["vocab_size"])
    folder.mkdir(parents=True)
    text = json.dumps({**config, **marks, "vocab_size": size, "dtype": "bfloat16"}, indent=1)
    (folder / "config.json").write_text(text)
    copy_companions(tokens, folder)
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(_BLOCK, generator=generator, dtype=torch.float32).bfloat16()
    model, writer = empty_causal_lm(folder), ShardWriter(folder)
    for key, value in model.named_parameters():
        writer.add(key, _random(key, tuple(value.shape), numbers, generator))
    writer.close()
    return folder


def _random(key: str, shape: tuple[int, ...], numbers: Any, generator: Any) -> Any:
    """Return a tensor that keeps activations of order one."""
    import torch

    if len(shape) == 1:
        return torch.ones(shape, dtype=numbers.dtype) * (0 if key.endswith("bias") else 1)
    count = shape[0] * shape[1]
    start = int(torch.randint(_BLOCK, (1,), generator=generator))
    flat = numbers.roll(start).repeat(-(-count // _BLOCK))[:count]
    wide = "embed" in key or "wte" in key or "wpe" in key or "lm_head" in key
    return flat.reshape(shape) * (0.05 if wide else min(shape) ** -0.5)


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(SHAPES))
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    print(write_shape(chosen.name, chosen.folder))


if __name__ == "__main__":
    main()
