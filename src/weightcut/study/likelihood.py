"""Likelihood cells: windows predicted one by one, against the baseline's stored distributions."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from weightcut.data.blocks import token_blocks
from weightcut.engines.engine import Session
from weightcut.errors import WeightcutError
from weightcut.files import write_whole
from weightcut.metrics.likelihood import TopK, top_k, window_scores
from weightcut.models.tokenizer import Tokenizer
from weightcut.records import Observation
from weightcut.tasks.task import LikelihoodTask


def measure_windows(
    task: LikelihoodTask,
    session: Session,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    is_baseline: bool,
    done: set[tuple[str, int]],
    add: Callable[[Observation], None],
    progress: Callable[[str, float | None], None],
) -> str:
    """Score each window that is not done and return the digest of the windows.

    folder: where the baseline leaves its top-k distributions, and the others find them.
    """
    blocks = token_blocks(task.documents(), tokenizer, task.limit, task.length, source=task.kind)
    todo = [i for i in range(len(blocks.ids)) if (f"{i:04d}", 0) not in done]
    rest = replace(blocks, ids=blocks.ids[todo], text_bytes=blocks.text_bytes[todo])
    for predicted in session.token_logprobs(rest) if todo else ():
        index = todo[predicted.block]
        path = folder / f"{index:04d}.npz"
        if is_baseline:
            _save(path, top_k(predicted.values, task.top_k))
        reference = None if is_baseline else _load(path)
        values = window_scores(predicted.values, blocks.ids[index], reference)
        values["bytes"] = float(blocks.text_bytes[index])
        add(Observation(sample=f"{index:04d}", values=values))
        progress(f"{index + 1}/{len(blocks.ids)} windows", (index + 1) / len(blocks.ids))
    return blocks.digest


def _save(path: Path, best: TopK) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, ids=best.ids, logp=best.logp)
    write_whole(path, buffer.getvalue())


def _load(path: Path) -> TopK:
    try:
        with np.load(path, allow_pickle=False) as data:
            return TopK(ids=data["ids"], logp=data["logp"])
    except (OSError, ValueError, KeyError) as error:
        raise WeightcutError(
            "the baseline's distributions are missing or broken",
            place=str(path),
            cure="the baseline's cell must finish first",
        ) from error
