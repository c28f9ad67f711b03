"""Export a Hugging Face causal language model to a GGUF file in 16 bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.files import copy_companions
from weightcut.compression.gguf_vocabulary import vocabulary
from weightcut.compression.hf_source import check_finite, check_unquantized
from weightcut.compression.method import Context, Requirements
from weightcut.compression.shards import read_tensors
from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.models.causal_lm import read_config
from weightcut.models.folder import weights
from weightcut.models.gguf import ARCHITECTURES
from weightcut.records import Format, Record

FILE = "model.gguf"
PACKAGES = ("gguf", "llama_cpp")
Dtype = Literal["bfloat16", "float16", "float32"]
# The families of Hugging Face by the name of llama.cpp's architecture that is the same model.
_FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_CURE = "use another engine: transformers and openvino open this model"
_FLOAT16_LARGEST = 65_504.0


class ExportGGUF(Record):
    """Write the model as a GGUF file, the format of llama.cpp.

    Weight matrices keep the 16-bit type that they have (bf16 or fp16); those of a float32 source
    become fp16, or bf16 where a value would not fit. Norms and biases are written in float32.
    Llama, Mistral without a sliding window, Qwen2 and Qwen3, with byte-level BPE tokenizers.
    Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "gguf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    bits: ClassVar[float | None] = 16
    paper: ClassVar[str] = "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"

    kind: Literal["export-gguf"] = "export-gguf"
    dtype: Dtype | None = Field(
        None, description="type of the weight matrices; null: the 16-bit type that they have"
    )

    def requirements(self) -> Requirements:
        """Return what little it needs: it reads and writes tensor after tensor."""
        return Requirements(
            packages=PACKAGES,
            extra="gguf",
            memory_per_weight=3.0,  # of the proof, which opens both models
            base_memory=900_000_000,
            seconds_per_weight=2e-8,
            base_seconds=8.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write metadata, vocabulary and tensors, one tensor at a time."""
        check_unquantized(source)
        config = read_config(source)
        kind = _architecture(source, config)
        names = _names(source, config, kind)
        dtype = self.dtype or _dtype(source)
        context.progress("writing tensor after tensor", 0.0)
        _write(source, out / FILE, config, kind, names, dtype)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        copy_companions(source, out)
        context.record.update(
            architecture=kind, dtype=dtype, weights_bytes=(out / FILE).stat().st_size
        )


def _architecture(source: Path, config: dict[str, Any]) -> str:
    """Return llama.cpp's name of the architecture; UsageError for what it would not compute."""
    family = str(config.get("model_type"))
    place = str(source / "config.json")
    if family not in _FAMILIES:
        raise UsageError(
            f"a {family} model is not written to GGUF here; {nearest(family, _FAMILIES)}",
            place=place,
            cure=_CURE,
        )
    windowed = config.get("sliding_window") and config.get("use_sliding_window", True)
    wrong = {
        "an activation other than SiLU": config.get("hidden_act", "silu") != "silu",
        "a sliding window": bool(windowed) and family == "mistral",
        "sliding windows": bool(config.get("use_sliding_window")),
        f"the rotary scaling {_rope(config)['rope_type']!r}": _rope(config)["rope_type"]
        not in ("default", "llama3"),
        "a rotary embedding of a part of each head": _rope(config).get("partial_rotary_factor", 1)
        != 1,
    }
    for what, so in wrong.items():
        if so:
            raise UsageError(f"{what} is not written to GGUF here", place=place, cure=_CURE)
    return _FAMILIES[family]


def _names(source: Path, config: dict[str, Any], kind: str) -> dict[str, str]:
    """Return the GGUF name of every tensor of the source by its own, in the order of the files."""
    known = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    tied = bool(config.get("tie_word_embeddings", False))
    if not tied:
        known["lm_head.weight"] = "output.weight"
    for layer in range(int(config["num_hidden_layers"])):
        for ours, theirs in ARCHITECTURES[kind].layer.items():
            known[f"model.layers.{layer}.{theirs}"] = f"blk.{layer}.{ours}"
    found = weights(source)
    if missing := sorted(known.keys() - found.keys()):
        raise BrokenInput(f"the weights lack {missing[0]!r}", place=str(source))
    idle = {name for name in found if name.endswith("rotary_emb.inv_freq")}
    idle |= {"lm_head.weight"} if tied else set()
    if unknown := sorted(found.keys() - known.keys() - idle):
        raise UsageError(
            f"the tensor {unknown[0]!r} has no place in llama.cpp's {kind!r}",
            place=str(source),
            cure=_CURE,
        )
    return known


def _write(
    source: Path, path: Path, config: dict[str, Any], kind: str, names: dict[str, str], dtype: Dtype
) -> None:
    import gguf
    import numpy as np

    shapes = {name: info.shape for name, info in weights(source).items()}
    kinds = {
        name: gguf.GGMLQuantizationType[_GGML[dtype] if len(shapes[name]) > 1 else "F32"]
        for name in names
    }
    writer = gguf.GGUFWriter(path, kind)
    _add_metadata(writer, source, config, dtype, shapes["model.embed_tokens.weight"][0])
    order = [name for name in _stored_order(source) if name in names]
    for name in order:
        size = math.prod(shapes[name]) * (4 if kinds[name] == gguf.GGMLQuantizationType.F32 else 2)
        writer.add_tensor_info(
            names[name], shapes[name], np.dtype(np.float32), size, raw_dtype=kinds[name]
        )
    factors = _rotary_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    with closing(writer):
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_tensors(writer, source, config, kind, kinds)
        if factors is not None:
            writer.write_tensor_data(factors)


def _write_tensors(
    writer: Any, source: Path, config: dict[str, Any], kind: str, kinds: dict[str, Any]
) -> None:
    heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config.get("num_key_value_heads") or config["num_attention_heads"],
    }
    for name, tensor in read_tensors(source):
        if name not in kinds:
            continue
        check_finite(name, tensor, source)
        part = name.split(".")[-2]
        if ARCHITECTURES[kind].rotated and part in heads:
            pairs = tensor.reshape(heads[part], 2, -1, tensor.shape[1])
            tensor = pairs.swapaxes(1, 2).reshape(tensor.shape)
        writer.write_tensor_data(_stored(tensor, kinds[name].name))


_GGML = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def _stored(tensor: Any, kind: str) -> Any:
    """Return a tensor's values as they lie in the file; 16-bit ones as their bits."""
    import torch

    if kind == "F32":
        return tensor.float().contiguous().numpy()
    dtype = torch.bfloat16 if kind == "BF16" else torch.float16
    return tensor.to(dtype).contiguous().view(torch.int16).numpy()


def _stored_order(source: Path) -> Iterator[str]:
    """Yield the names of all tensors in the order in which `read_tensors` gives them."""
    from weightcut.models.folder import weight_files
    from weightcut.models.safetensors import read_header

    for path in weight_files(source):
        yield from (n for n, i in sorted(read_header(path).items(), key=lambda one: one[1].begin))


def _dtype(source: Path) -> Dtype:
    """Return the 16-bit type that the matrices have, or the one that fits those of 32 bit."""
    kinds = {info.dtype for info in weights(source).values() if len(info.shape) > 1}
    if kinds <= {"F16"}:
        return "float16"
    if "BF16" in kinds:
        return "bfloat16"
    largest = max(float(t.abs().max()) for _, t in read_tensors(source) if t.ndim > 1)
    return "float16" if largest <= _FLOAT16_LARGEST else "bfloat16"


def _add_metadata(
    writer: Any, source: Path, config: dict[str, Any], dtype: Dtype, rows: int
) -> None:
    import gguf

    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or hidden // heads)
    writer.add_name(source.name)
    writer.add_file_type(
        {
            "bfloat16": gguf.LlamaFileType.MOSTLY_BF16,
            "float16": gguf.LlamaFileType.MOSTLY_F16,
            "float32": gguf.LlamaFileType.ALL_F32,
        }[dtype]
    )
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config.get("max_position_embeddings", 2048)))
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps", 1e-6)))
    writer.add_rope_freq_base(float(_rope(config)["rope_theta"]))
    writer.add_rope_dimension_count(size)
    writer.add_vocab_size(rows)
    kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32}
    for key, value in vocabulary(source, rows).items():
        kinds.get(type(value), writer.add_array)(key, value)


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return the rotary settings of a config, of whichever version of transformers."""
    found = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    found.setdefault("rope_type", found.get("type", "default"))
    found.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    return found


def _rotary_factors(config: dict[str, Any]) -> Any:
    """Return what llama.cpp divides the rotary frequencies by, for Llama 3's scaling; else None.

    As `Llama3RotaryEmbedding` of transformers computes it (modeling_rope_utils.py).
    """
    import numpy as np

    rope = _rope(config)
    if rope["rope_type"] != "llama3":
        return None
    size = int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])
    waves = 2 * np.pi * float(rope["rope_theta"]) ** (np.arange(0, size, 2) / size)
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    old, factor = float(rope["original_max_position_embeddings"]), float(rope["factor"])
    smooth = np.clip((old / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
