"""A GGUF file as a Hugging Face folder: weights dequantized, then rounded to bf16.

Only architectures whose every tensor is known are converted; a tensor that is not in the table,
or one that is missing, refuses the file instead of changing the model silently.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.models.gguf_file import GGUFFile, read_gguf
from weightcut.models.gguf_tokenizer import special_ids, write_tokenizer
from weightcut.models.safetensors import write_bfloat16

_LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
_QKV_BIAS = {
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
}
_QK_NORM = {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
}


@dataclass(frozen=True)
class Architecture:
    """How a family's GGUF differs from its Hugging Face folder.

    rotated: llama.cpp stores the rows of q and k in the order of its own rotary embedding.
    """

    name: str
    layer: Mapping[str, str]
    rotated: bool = False


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("LlamaForCausalLM", _LAYER, rotated=True),
    "qwen2": Architecture("Qwen2ForCausalLM", {**_LAYER, **_QKV_BIAS}),
    "qwen3": Architecture("Qwen3ForCausalLM", {**_LAYER, **_QK_NORM}),
}


def convert_gguf(path: Path, folder: Path) -> None:
    """Write the model in a GGUF file into the empty `folder` as bf16 safetensors.

    Memory stays near the size of the largest tensor. Raises BrokenInput for a damaged file and
    UsageError for a model that this conversion does not know.
    """
    source = read_gguf(path)
    kind = str(source.metadata.get("general.architecture"))
    if kind not in ARCHITECTURES:
        raise UsageError(
            f"its architecture is {kind!r}; {nearest(kind, ARCHITECTURES)}",
            place=str(path),
            cure="use the model's original Hugging Face folder",
        )
    architecture = ARCHITECTURES[kind]
    config = _config(source, kind, architecture)
    names = _names(source, architecture, config["num_hidden_layers"])
    _check_shapes(source, config)
    write_tokenizer(source.metadata, folder, path)
    write_bfloat16(
        folder / "model.safetensors",
        {names[name]: source.tensors[name].shape for name in names},
        _tensors(source, names, config, architecture),
    )
    _write_json(folder / "config.json", config)
    special = {key: value for key, value in config.items() if key.endswith("_token_id")}
    _write_json(folder / "generation_config.json", special)


def _config(source: GGUFFile, kind: str, architecture: Architecture) -> dict[str, Any]:
    def number(key: str, default: float | None = None) -> Any:
        value = source.metadata.get(f"{kind}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise BrokenInput(f"its {kind}.{key} is {value!r}", place=str(source.path))
        return value

    scaling = source.metadata.get(f"{kind}.rope.scaling.type", "none")
    heads, hidden = number("attention.head_count"), number("embedding_length")
    head = number("attention.key_length", hidden // heads)
    if scaling != "none" or number("rope.dimension_count", head) != head:
        raise UsageError(
            "it scales or cuts its rotary embedding, which is not converted",
            place=str(source.path),
            cure="use the model's original Hugging Face folder",
        )
    if "token_embd.weight" not in source.tensors:
        raise BrokenInput("its tensor 'token_embd.weight' is missing", place=str(source.path))
    roles = special_ids(source.metadata, source.path)
    return {
        "architectures": [architecture.name],
        "model_type": kind,
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": head,
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": _short(number("attention.layer_norm_rms_epsilon")),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": _short(number("rope.freq_base", 10000.0)),
        },
        "tie_word_embeddings": "output.weight" not in source.tensors,
        "vocab_size": source.tensors["token_embd.weight"].shape[0],
        **{f"{role}_token_id": roles[role] for role in ("bos", "eos", "pad") if role in roles},
    }


def _names(source: GGUFFile, architecture: Architecture, layers: int) -> dict[str, str]:
    """Return the Hugging Face name of every tensor, or refuse the file."""
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
    }
    if "output.weight" in source.tensors:
        names["output.weight"] = "lm_head.weight"
    if layers > len(source.tensors):
        raise BrokenInput(f"it claims {layers} layers", place=str(source.path))
    for layer in range(layers):
        for ours, theirs in architecture.layer.items():
            names[f"blk.{layer}.{ours}"] = f"model.layers.{layer}.{theirs}"
    if missing := sorted(names.keys() - source.tensors.keys()):
        raise BrokenInput(f"its tensor {missing[0]!r} is missing", place=str(source.path))
    if unknown := sorted(source.tensors.keys() - names.keys()):
        raise UsageError(
            f"its tensor {unknown[0]!r} has no place in {architecture.name}",
            place=str(source.path),
            cure="use the model's original Hugging Face folder",
        )
    return names


def _check_shapes(source: GGUFFile, config: Mapping[str, Any]) -> None:
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries = config["num_attention_heads"] * head
    keys = config["num_key_value_heads"] * head
    expected = {
        "token_embd.weight": (config["vocab_size"], hidden),
        "output.weight": (config["vocab_size"], hidden),
        "output_norm.weight": (hidden,),
        "attn_norm.weight": (hidden,),
        "ffn_norm.weight": (hidden,),
        "attn_q.weight": (queries, hidden),
        "attn_k.weight": (keys, hidden),
        "attn_v.weight": (keys, hidden),
        "attn_output.weight": (hidden, queries),
        "attn_q.bias": (queries,),
        "attn_k.bias": (keys,),
        "attn_v.bias": (keys,),
        "attn_q_norm.weight": (head,),
        "attn_k_norm.weight": (head,),
        "ffn_gate.weight": (inner, hidden),
        "ffn_up.weight": (inner, hidden),
        "ffn_down.weight": (hidden, inner),
    }
    for tensor in source.tensors.values():
        part = tensor.name.split(".", 2)[2] if tensor.name.startswith("blk.") else tensor.name
        if tensor.shape != expected[part]:
            raise BrokenInput(
                f"its tensor {tensor.name!r} is {list(tensor.shape)}, not {list(expected[part])}",
                place=str(source.path),
            )


def _tensors(
    source: GGUFFile,
    names: Mapping[str, str],
    config: Mapping[str, Any],
    architecture: Architecture,
) -> Iterator[tuple[str, Any]]:
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    for name, theirs in names.items():
        values = source.load(name)
        for letter, count in heads.items():
            if architecture.rotated and name.endswith(f".attn_{letter}.weight"):
                pairs = values.reshape(count, -1, 2, values.shape[1])
                values = pairs.swapaxes(1, 2).reshape(values.shape)
        yield theirs, values


def _short(value: float) -> float:
    """Return the shortest decimal with the same float32: 1e-05, not 9.999999747378752e-06."""
    import numpy as np

    return float(str(np.float32(value)))


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def kind_names(kinds: list[int]) -> list[str]:
    """Return ggml's names of tensor types: `Q4_1`."""
    import gguf

    return [gguf.GGMLQuantizationType(kind).name for kind in kinds]
