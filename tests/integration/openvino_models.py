"""What the tests of OpenVINO's methods and engine share: exported families, and what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.compression.export_openvino import ExportOpenVINO
from weightcut.compression.method import Context
from weightcut.records import Artifact, TokenBlocks


def context(folder: Path, blocks: TokenBlocks | None = None) -> Context:
    def texts(_split: str, windows: int, length: int) -> TokenBlocks:
        assert blocks is not None
        return TokenBlocks(blocks.ids[:windows, :length], blocks.text_bytes[:windows])

    return Context(origin=folder, texts=texts, scratch=folder)


def export(source: Path, out: Path) -> dict[str, Any]:
    made = context(source)
    ExportOpenVINO().compress(source, out, made)
    return made.record


def artifact(folder: Path) -> Artifact:
    return Artifact(path=folder, format="openvino", digest="", bytes=0, checkpoint="")


def reference(folder: Path) -> Any:
    """Return the model in float32, its attention written out."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def log_probabilities(model: Any, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    import torch

    with torch.no_grad():
        logits = model(torch.tensor(ids)).logits
    return np.asarray(torch.log_softmax(logits.double(), -1))


def divergence(p: npt.NDArray[Any], q: npt.NDArray[Any]) -> float:
    """Return the largest KL(p || q) of any position, from log-probabilities, in nats."""
    return float((np.exp(p) * (p - q)).sum(-1).max())
