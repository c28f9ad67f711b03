"""What the engines that have a batching of their own need beside it: answers read step by step."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.errors import NotHere


def require_gpu(engine: str) -> None:
    """Raise NotHere where torch sees no GPU, before a library fails in its own words."""
    try:
        import torch
    except ImportError as error:
        raise NotHere(f"the engine {engine} needs torch, which is not installed") from error
    if not torch.cuda.is_available():
        raise NotHere(
            f"the engine {engine} needs a GPU and torch sees none",
            cure="use the engine openvino, llama_cpp or onnxruntime on a CPU",
        )


def missing_library(package: str) -> NotHere:
    """Return the error for a library that cannot share an environment with weightcut's torch."""
    return NotHere(
        f"the package {package!r} is not installed",
        cure=f"install {package} in an environment of its own, with weightcut beside it",
    )


def offline() -> None:
    """Keep a library that is imported next from the network and from reporting its use."""
    for name in ("HF_HUB_OFFLINE", "DO_NOT_TRACK", "VLLM_NO_USAGE_STATS", "TRTLLM_NO_USAGE_STATS"):
        os.environ[name] = "1"


def table(rows: Iterable[Mapping[int, Any]], vocabulary: int) -> npt.NDArray[np.float32]:
    """Return log-probabilities [rows, vocabulary] from one dictionary by token id for each row."""
    found = []
    for row in rows:
        values = np.full(vocabulary, -np.inf, np.float32)
        values[list(row)] = [one.logprob for one in row.values()]
        found.append(values)
    return np.stack(found)
