"""Small GGUF files, written by the reference `gguf` package, with the weights they stand for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
HIDDEN, INNER, HEADS, KEYS, HEAD, LAYERS = 64, 96, 4, 2, 16, 2
TEMPLATE = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
_BYTES = "".join(chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 256)])
_BYTES += "".join(chr(256 + n) for n in range(256 - len(_BYTES)))
MERGES = ["Ġ Ġ", "ĠĠ ĠĠ", "r e", "d e", "re t", "i n", "Ġ de"]
TOKENS = ["<|endoftext|>", "<|im_end|>", *_BYTES, *(m.replace(" ", "") for m in MERGES)]


def write_gguf(
    path: Path,
    architecture: str = "llama",
    *,
    tied: bool = True,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    without: Collection[str] = (),
    metadata: dict[str, Any] | None = None,
    tensors: dict[str, Array] | None = None,
) -> dict[str, Array]:
    """Write a tiny model; return the float32 weights, by their Hugging Face names, it holds."""
    writer = gguf.GGUFWriter(path, architecture)
    values = {
        "block_count": LAYERS,
        "context_length": 128,
        "embedding_length": HIDDEN,
        "feed_forward_length": INNER,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KEYS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 100_000.0,
        "rope.dimension_count": HEAD,
    }
    plain = {f"{architecture}.{key}": value for key, value in values.items()}
    plain |= {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2" if architecture.startswith("qwen") else "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.token_type": [3, 3] + [1] * (len(TOKENS) - 2),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.chat_template": TEMPLATE,
    }
    for key, value in (plain | (metadata or {})).items():
        _add(writer, key, value)
    found = {}
    for ours, theirs, shape in _weights(architecture, tied):
        if ours in without:
            continue
        values_ = np.random.default_rng(len(found)).standard_normal(shape).astype(np.float32)
        wanted = kind if len(shape) == 2 else gguf.GGMLQuantizationType.F32
        raw = gguf.quants.quantize(values_, wanted)
        writer.add_tensor(ours, raw, raw_dtype=wanted)
        held = gguf.quants.dequantize(raw, wanted).reshape(shape)
        found[theirs] = _unrotated(held, ours) if architecture == "llama" else held
    for name, extra in (tensors or {}).items():
        writer.add_tensor(name, extra)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


def _weights(architecture: str, tied: bool) -> list[tuple[str, str, tuple[int, ...]]]:
    queries, keys = HEADS * HEAD, KEYS * HEAD
    found: list[tuple[str, str, tuple[int, ...]]] = [
        ("token_embd.weight", "model.embed_tokens.weight", (len(TOKENS), HIDDEN)),
        ("output_norm.weight", "model.norm.weight", (HIDDEN,)),
    ]
    if not tied:
        found.append(("output.weight", "lm_head.weight", (len(TOKENS), HIDDEN)))
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        ("attn_norm.weight", "input_layernorm.weight", (HIDDEN,)),
        ("attn_q.weight", "self_attn.q_proj.weight", (queries, HIDDEN)),
        ("attn_k.weight", "self_attn.k_proj.weight", (keys, HIDDEN)),
        ("attn_v.weight", "self_attn.v_proj.weight", (keys, HIDDEN)),
        ("attn_output.weight", "self_attn.o_proj.weight", (HIDDEN, queries)),
        ("ffn_norm.weight", "post_attention_layernorm.weight", (HIDDEN,)),
        ("ffn_gate.weight", "mlp.gate_proj.weight", (INNER, HIDDEN)),
        ("ffn_up.weight", "mlp.up_proj.weight", (INNER, HIDDEN)),
        ("ffn_down.weight", "mlp.down_proj.weight", (HIDDEN, INNER)),
    ]
    if architecture == "qwen2":
        parts += [
            (f"attn_{x}.bias", f"self_attn.{x}_proj.bias", (queries if x == "q" else keys,))
            for x in "qkv"
        ]
    if architecture == "qwen3":
        parts += [(f"attn_{x}_norm.weight", f"self_attn.{x}_norm.weight", (HEAD,)) for x in "qk"]
    for layer in range(LAYERS):
        found += [(f"blk.{layer}.{a}", f"model.layers.{layer}.{b}", s) for a, b, s in parts]
    return found


def _unrotated(values: Array, name: str) -> Array:
    """Undo llama.cpp's row order of q and k: (pair, half) within a head becomes (half, pair)."""
    if not name.endswith(("attn_q.weight", "attn_k.weight")):
        return values
    out = np.empty_like(values)
    for row in range(len(values)):
        head, inside = divmod(row, HEAD)
        pair, half = divmod(inside, 2)
        out[head * HEAD + half * (HEAD // 2) + pair] = values[row]
    return out


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
