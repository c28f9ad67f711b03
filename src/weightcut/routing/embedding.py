"""An optional feature: what a local language model makes of a prompt.

A folder in transformers' format, a sentence encoder or any causal model: the mean of its last
hidden states over the tokens of the prompt (as Reimers and Gurevych 2019, arXiv:1908.10084).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.errors import BrokenInput, UsageError, missing_extra

Singles = npt.NDArray[np.float32]
TOKENS = 512
"""Of a longer prompt, the first so many are looked at."""
_BATCH = 16
_WEIGHTS = "*.safetensors"


class Embedding:
    """A local model that turns prompts into vectors; loaded at the first use."""

    def __init__(self, folder: Path, digest: str | None = None) -> None:
        self.folder = folder.resolve()
        if not (self.folder / "config.json").is_file() or not list(self.folder.glob(_WEIGHTS)):
            raise UsageError(
                "no model in transformers' format: config.json and *.safetensors are needed",
                place=str(folder),
                cure="name the folder of a sentence encoder or of a language model",
            )
        # Servers decide in several threads, which a tokenizer may not share at a time.
        self._lock = threading.Lock()
        self.digest = _digest(self.folder)
        if digest not in (None, self.digest):
            raise BrokenInput(
                "the embedding model is not the one that the router was fitted with",
                place=str(folder),
                cure="fit the router anew with --embedding",
            )

    def many(
        self, prompts: Sequence[str], progress: Callable[[str], None] = lambda _phrase: None
    ) -> Singles:
        """Return a vector of length 1 for each prompt [n, width]."""
        order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
        found: dict[int, Any] = {}
        for start in range(0, len(order), _BATCH):
            mine = order[start : start + _BATCH]
            found |= zip(mine, self._vectors([prompts[n] for n in mine]), strict=True)
            progress(f"embedding: {len(found)} of {len(prompts)} prompts")
        return np.array([found[n] for n in range(len(prompts))], np.float32)

    def one(self, prompt: str) -> Singles:
        """Return the vector of one prompt [width]."""
        vector: Singles = self._vectors([prompt])[0]
        return vector

    def _vectors(self, prompts: Sequence[str]) -> Singles:
        import torch

        # A prompt of no tokens has no mean.
        said = [prompt if prompt.strip() else "." for prompt in prompts]
        with self._lock:
            tokenizer, model = self._parts
            batch = tokenizer(
                said, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
            )
        batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            states = model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"][:, :, None].float()
        mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        vectors: Singles = torch.nn.functional.normalize(mean, dim=1).numpy().astype(np.float32)
        return vectors

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        try:
            import transformers

            from weightcut.models.causal_lm import quiet_transformers
        except ImportError as error:
            raise missing_extra("transformers", "transformers") from error
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            with quiet_transformers():
                tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **here)
                model = transformers.AutoModel.from_pretrained(
                    self.folder, use_safetensors=True, **here
                )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise BrokenInput(f"cannot be loaded ({said})", place=str(self.folder)) from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        return tokenizer, model.eval()


def _digest(folder: Path) -> str:
    """Return a digest of the configuration, the tokenizer and the weights."""
    whole = hashlib.sha256()
    for path in [
        *(folder / n for n in ("config.json", "tokenizer.json")),
        *sorted(folder.glob(_WEIGHTS)),
    ]:
        if path.is_file():
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
