"""What the tests of quantization and pruning share: compress, open, predict, here or elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.families import WORDS

from weightcut.compression.method import Context, Split
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.engines.transformers import TransformersEngine, TransformersSession
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, TokenBlocks

# Run in a process of its own: a library must not remember anything of the one that compressed.
LOSS = """
import json, sys
from pathlib import Path
from tests.integration.compression.quantized import loss, opened
with opened(Path(sys.argv[1]), sys.argv[2]) as session:
    print(json.dumps(loss(session, json.loads(sys.argv[3]))))
"""


def compress(method: Any, source: Path, out: Path) -> dict[str, Any]:
    """Run a method with calibration on the standard library's text; return its record."""
    out.mkdir()
    context = Context(origin=source, texts=_texts(source), scratch=out)
    method.compress(source, out, context)
    return json.loads(json.dumps(context.record))


def opened(folder: Path, format_: str = "hf") -> TransformersSession:
    artifact = Artifact(path=folder, format=format_, digest="", bytes=0, checkpoint="")
    return TransformersEngine(threads=1).open(artifact)


def loss(session: TransformersSession, ids: list[list[int]]) -> float:
    """Mean negative log-likelihood in nats per token."""
    windows = np.array(ids)
    blocks = TokenBlocks(ids=windows, text_bytes=np.ones(len(windows), dtype=np.int64))
    chosen = [
        window.values[np.arange(windows.shape[1] - 1), row[1:]]
        for window, row in zip(session.token_logprobs(blocks), windows, strict=True)
    ]
    return -float(np.mean(chosen))


def loss_of(folder: Path, ids: list[list[int]], format_: str = "hf") -> float:
    with opened(folder, format_) as session:
        return loss(session, ids)


def loss_elsewhere(folder: Path, ids: list[list[int]], format_: str = "hf") -> float:
    done = subprocess.run(
        [sys.executable, "-c", LOSS, str(folder), format_, json.dumps(ids)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def short_text(folder: Path) -> list[list[int]]:
    """One window of 64 tokens, for the small random models."""
    return [load_tokenizer(folder).encode(WORDS)[:64]]


def evaluation_text(folder: Path, windows: int = 3, length: int = 256) -> list[list[int]]:
    texts = (document.text for document in documents("evaluation"))
    ids: list[list[int]] = token_blocks(texts, load_tokenizer(folder), windows, length).ids.tolist()
    return ids


def stored(folder: Path) -> dict[str, Any]:
    """Every tensor in the folder's safetensors files."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for path in files for name, tensor in load_file(path).items()}


def _texts(source: Path) -> Callable[[Split, int, int], TokenBlocks]:
    def texts(split: Split, blocks: int, length: int) -> TokenBlocks:
        pages = (document.text for document in documents(split))
        return token_blocks(pages, load_tokenizer(source), blocks, length, source=split)

    return texts
