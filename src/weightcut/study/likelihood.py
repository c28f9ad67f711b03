"""Likelihood cells: windows predicted one by one, against the baseline's stored distributions."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from weightcut.engines.engine import Session
from weightcut.errors import BrokenInput
from weightcut.files import write_whole
from weightcut.metrics.likelihood import TopK, load, top_k, window_scores
from weightcut.records import Observation, TokenBlocks


def reference_folder(run: Path, task: str) -> Path:
    """Return where the baseline leaves its top-k distributions, and the others find them."""
    return run / "reference" / task


def measure_windows(
    blocks: TokenBlocks,
    session: Session,
    folder: Path,
    *,
    top: int,
    is_baseline: bool,
    done: set[tuple[str, int]],
    add: Callable[[Observation], None],
    progress: Callable[[str, float | None], None],
) -> None:
    """Score each window that is not done; the baseline also makes again what is lost in `folder`.

    folder: of the baseline's distributions. top: how many entries of each are kept.
    """
    names = [f"{index:04d}" for index in range(len(blocks.ids))]
    scored = {window for window, _ in done}
    lost = lost_windows(folder, scored) if is_baseline else set()
    todo = [i for i, name in enumerate(names) if name not in scored or name in lost]
    rest = replace(blocks, ids=blocks.ids[todo], text_bytes=blocks.text_bytes[todo])
    for predicted in session.token_logprobs(rest) if todo else ():
        index = todo[predicted.block]
        path = _path(folder, names[index])
        if is_baseline:
            _save(path, top_k(predicted.values, top))
        if names[index] not in scored:
            reference = None if is_baseline else _reference(path)
            values = window_scores(predicted.values, blocks.ids[index], reference)
            values["bytes"] = float(blocks.text_bytes[index])
            add(Observation(sample=names[index], values=values))
        progress(f"{index + 1}/{len(names)} windows", (index + 1) / len(names))


def lost_windows(folder: Path, windows: Iterable[str]) -> set[str]:
    """Return those windows whose distributions are missing or cannot be read."""
    lost = set()
    for window in windows:
        try:
            load(_path(folder, window))
        except BrokenInput:
            lost.add(window)
    return lost


def _path(folder: Path, window: str) -> Path:
    return folder / f"{window}.npz"


def _save(path: Path, best: TopK) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, ids=best.ids, logp=best.logp)
    write_whole(path, buffer.getvalue())


def _reference(path: Path) -> TopK:
    try:
        return load(path)
    except BrokenInput as error:
        raise BrokenInput(
            "the baseline's distributions are missing or broken",
            place=str(path),
            cure="run the study again: the baseline's cell makes them anew",
        ) from error
