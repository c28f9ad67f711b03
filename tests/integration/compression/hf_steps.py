"""What the tests of pruning and distillation share: learnable text, and a model's logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weightcut.compression.method import Context, Split
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import TokenBlocks


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: several cost tiny models more in waiting than they bring."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def context(origin: Path, scratch: Path, seed: int = 0) -> Context:
    """Return a context whose windows count up from a random token, the same for the same call."""
    scratch.mkdir(exist_ok=True)
    vocabulary = load_tokenizer(origin).vocab_size

    def texts(split: Split, blocks: int, length: int) -> TokenBlocks:
        starts = np.random.default_rng(len(split)).integers(0, vocabulary, (blocks, 1))
        ids = 8 + (starts + np.arange(length)) % (vocabulary - 8)
        return TokenBlocks(ids, np.full(blocks, length - 1), f"counting for {split}")

    return Context(origin=origin, texts=texts, scratch=scratch, seed=seed)


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def logits(model: Any, length: int = 40) -> Any:
    """Return the model's logits for two fixed windows, longer than gemma3's sliding window."""
    import torch

    ids = torch.arange(2 * length).reshape(2, length) * 7 % 500 + 8
    with torch.no_grad():
        return model(input_ids=ids).logits.float()
