"""The reference engine: Hugging Face transformers on torch, with batching of our own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.engines.batching import Batch
from weightcut.engines.bnb_prompts import unpack_for_prompts
from weightcut.engines.engine import Closing, Cost
from weightcut.engines.versions import told_of
from weightcut.errors import BrokenInput, NotHere, UsageError, missing_extra
from weightcut.models import adapters, torch_state
from weightcut.models.causal_lm import load_causal_lm, read_config
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import (
    Artifact,
    Completion,
    Format,
    LogProbs,
    Record,
    Request,
    TokenBlocks,
)

# quant_method in config.json -> the distribution that transformers needs to open it
_QUANTIZERS = {
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "torchao": "torchao",
    torch_state.METHOD: "torchao",
    torch_state.INT8_METHOD: "torch",
}
_ROWS_AT_ONCE = 128
_GROUP = 16  # rows that attend together


class TransformersEngine(Record):
    """Opens Hugging Face folders, quantized ones included, on a GPU if there is one.

    So it does adapters (`peft`), with the base that lies beside them, not merged into it.
    Folders with a torch state dict are opened on the CPU, and without running any code from them.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf", "peft", "torch"})
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    extra: ClassVar[str] = ""
    exact: ClassVar[dict[str, Any]] = {"dtype": "float32"}
    cost: ClassVar[Cost] = Cost(
        single_s=1.5e-10, batched_s=2e-11, prefill_s=3e-12, start_s=8, base_memory=600_000_000
    )

    kind: Literal["transformers"] = "transformers"
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="type of activations, and of weights that are not quantized"
    )
    max_batch: int = Field(
        256, ge=1, description="sequences decoded together, as far as their keys and values fit"
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads; null leaves the choice to torch"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes a GPU that torch can use, else the CPU"
    )

    def open(self, artifact: Artifact) -> TransformersSession:
        """Load the model; BrokenInput, NotHere or UsageError where that cannot be."""
        import torch

        adapted = adapters.is_adapter(artifact.path)
        check_quantization(adapters.base_of(artifact.path) if adapted else artifact.path)
        device = self.device
        if device == "auto" and artifact.format == "torch":
            device = "cpu"
        elif device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device == "cuda" and not torch.cuda.is_available():
            raise NotHere("torch sees no GPU", cure="use device: auto")
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        with told_of(artifact):
            return TransformersSession(artifact.path, self.dtype, device, self.max_batch)


class TransformersSession(Closing):
    """A loaded model and its tokenizer."""

    def __init__(self, folder: Path, dtype: str, device: str, max_batch: int) -> None:
        self._tokenizer = load_tokenizer(folder)
        base = adapters.base_of(folder) if adapters.is_adapter(folder) else folder
        self._quantization = read_config(base).get("quantization_config")
        self._model: Any = load_model(folder, dtype, device)
        self._dtype = dtype
        self._max_batch = max_batch

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, `max_batch` of them at a time, in the order in which they end."""
        text = self._model.config.get_text_config(decoder=True)
        positions = getattr(text, "max_position_embeddings", None)
        batch = Batch(self._model, self._tokenizer.decode_after, self._max_batch, positions)
        return batch.run(requests, time.perf_counter())

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield float32 log-softmax of the logits, one window at a time."""
        import numpy as np
        import torch

        for index, window in enumerate(blocks.ids):
            ids = torch.from_numpy(np.ascontiguousarray(window))[None].to(self._model.device)
            with torch.inference_mode():
                logits = self._model(input_ids=ids, use_cache=False).logits[0, :-1]
                values = np.empty(tuple(logits.shape), dtype=np.float32)
                for row in range(0, len(values), _ROWS_AT_ONCE):
                    part = logits[row : row + _ROWS_AT_ONCE].float().log_softmax(-1)
                    values[row : row + _ROWS_AT_ONCE] = part.cpu().numpy()
            yield LogProbs(index, values)

    def describe(self) -> dict[str, Any]:
        """Return versions, precision, device, threads, attention and the batch's limit."""
        import torch

        config = self._model.config
        return {
            "engine": "transformers",
            "versions": {name: version(name) for name in ("transformers", "torch")},
            "architecture": type(self._model).__name__,
            "adapter": adapters.told(self._model),
            "precision": self._dtype,
            "quantization": None if self._quantization is None else _method(self._quantization),
            "device": str(self._model.device),
            "threads": torch.get_num_threads(),
            "attention": config._attn_implementation,
            "cache": f"{self._dtype}, no prefix cache",
            "max_batch": self._max_batch,
        }

    def close(self) -> None:
        """Drop the model."""
        self._model = None


def load_model(folder: Path, dtype: str, device: str) -> Any:
    """Return the causal LM of a folder in evaluation mode, with grouped attention on the CPU.

    Only safetensors or, where there are none, the tensors of a state dict are read, and no code
    from the folder runs. BrokenInput where files or weights are missing or unreadable.
    """
    if adapters.is_adapter(folder):
        model = adapters.load_adapted_lm(folder, dtype, device)
    elif torch_state.is_state_folder(folder):
        model = torch_state.load_torch_lm(folder, dtype, device)
    else:
        model = load_causal_lm(folder, dtype, device=device)
    use_grouped_attention(model)
    if device == "cpu" and getattr(model, "is_loaded_in_4bit", False):
        unpack_for_prompts(model)
    return model


def check_quantization(folder: Path) -> None:
    """Refuse a folder quantized in a way that cannot be opened here, before it is loaded."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("quantization_config")
    except (OSError, ValueError, AttributeError) as error:
        raise BrokenInput(f"cannot be read: {error}", place=str(path)) from error
    if found is None:
        return
    method = _method(found)
    if method not in _QUANTIZERS:
        known = ", ".join(sorted(_QUANTIZERS))
        raise UsageError(
            f"the transformers engine opens weights quantized by {known}, not by {method!r}",
            place=str(path),
        )
    if find_spec(_QUANTIZERS[method]) is None:
        raise missing_extra(_QUANTIZERS[method], "compress")


def use_grouped_attention(model: Any) -> None:
    """Let heads that share keys and values read them in place where they were copied before.

    transformers repeats keys and values for each query head as soon as there is a mask. On a CPU
    the torch kernel gives the same numbers without; with 32 rows that is half of a decoding step.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa" or model.device.type != "cpu":
        return
    AttentionInterface.register("sdpa_grouped", _grouped_attention)
    AttentionMaskInterface.register("sdpa_grouped", sdpa_mask)
    model.set_attn_implementation("sdpa_grouped")


def _grouped_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
) -> tuple[Any, None]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    shared = attention_mask is not None and query.shape[1] != key.shape[1]
    if not shared or options.get("position_bias") is not None:
        done: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return done
    out = [
        scaled_dot_product_attention(
            query[rows],
            key[rows, :, first:],
            value[rows, :, first:],
            attn_mask=attention_mask[rows, ..., first:],
            dropout_p=options.get("dropout", 0.0),
            scale=options.get("scaling"),
            enable_gqa=True,
        )
        for rows, first in _groups(attention_mask, len(query))
    ]
    return (out[0] if len(out) == 1 else torch.cat(out)).transpose(1, 2).contiguous(), None


def _groups(mask: Any, rows: int) -> list[tuple[slice, int]]:
    """Return rows that attend together, and the first column that any of them sees.

    mask: [rows or 1, 1, queries, columns], True where a column is seen. Rows enter longest first,
    so that neighbours are padded alike: skipping what none of them sees saves a third of the reads.
    """
    import torch

    if mask.dtype != torch.bool or len(mask) != rows:
        return [(slice(None), 0)]
    found: list[tuple[slice, int]] | None = getattr(mask, "_groups", None)
    if found is None:
        seen = mask.any(2)[:, 0]
        groups = [slice(at, at + _GROUP) for at in range(0, rows, _GROUP)]
        found = [(group, int(seen[group].any(0).int().argmax())) for group in groups]
        mask._groups = found  # all layers are given the same mask
    return found


def _method(quantization: Any) -> str:
    found = quantization if isinstance(quantization, dict) else quantization.to_dict()
    method = found.get("quant_method", "unknown")
    return str(getattr(method, "value", method))
