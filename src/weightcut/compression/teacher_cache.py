"""A teacher's predictions on disk, so that several students cost one pass of the teacher.

A file holds, for each place of each window, the k most probable next tokens and their
probabilities. Its name is the digest of all that decides it: the teacher, the text, k and the
temperature. Files are written whole or not at all, and the least recently used go first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.compression.distillation_loss import Kept
from weightcut.errors import NotHere
from weightcut.files import locked
from weightcut.records import TokenBlocks, digest

LARGEST = 8 << 30
"""Bytes that all stored predictions take together; a larger one is not stored but refused."""
_VERSION = 1
_ENTRY = 8  # bytes of a token's id and probability


@dataclass(frozen=True)
class Predictions:
    """The kept predictions of some windows.

    ids: int32, probabilities: float32, both [windows, length - 1, k].
    """

    ids: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]

    def rows(self, index: Any) -> Kept:
        """Return those of a batch of windows as tensors on the device of `index`."""
        import torch

        at = index.cpu().numpy()
        ids, given = (
            torch.from_numpy(np.ascontiguousarray(part[at])).to(index.device)
            for part in (self.ids, self.probabilities)
        )
        return Kept(ids, given)


def predictions(
    folder: Path,
    teacher: str,
    blocks: TokenBlocks,
    top_k: int,
    temperature: float,
    logits_of: Callable[[npt.NDArray[np.int64]], Any],
    progress: Callable[[str, float | None], None],
    largest: int = LARGEST,
) -> tuple[Predictions, bool]:
    """Return the teacher's predictions on these windows, and whether they were there already.

    folder: where they are kept. teacher: its digest. logits_of: token ids [length] to its logits
    [length, vocabulary]; called where the file is not there, or is damaged.
    """
    windows, length = blocks.ids.shape
    needed = windows * (length - 1) * top_k * _ENTRY
    if needed > largest:
        raise NotHere(
            f"the teacher's predictions would take {needed / 1e9:.1f} GB, "
            f"at most {largest / 1e9:.1f} GB are kept",
            cure="take a smaller top_k, or top_k=0, which lets the teacher run beside the student",
        )
    key = digest([_VERSION, teacher, blocks.digest, top_k, temperature])[:32]
    path = folder / f"{key}.npy"
    with locked(folder / f"{key}.lock", lambda phrase: progress(phrase, None)):
        found = _read(path, (2, windows, length - 1, top_k))
        if found is not None:
            os.utime(path)
            return found, True
        _make_room(folder, needed, largest)
        with _written(path, (2, windows, length - 1, top_k)) as words:
            for window in range(windows):
                progress(f"the teacher predicts window {window + 1} of {windows}", window / windows)
                ids, given = _top(logits_of(blocks.ids[window])[:-1], top_k, temperature)
                words[0, window] = ids
                words[1, window] = given.view(np.int32)
        made = _read(path, (2, windows, length - 1, top_k))
    assert made is not None  # it was just written, under a lock
    return made, False


@contextmanager
def _written(path: Path, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.int32]]:
    """Yield an array that lies in a file from the start, and is at `path` once it is filled.

    Ids and probabilities, as their bits, lie in one array of 32-bit words.
    """
    part = path.with_suffix(".part")
    try:
        words = np.lib.format.open_memmap(part, mode="w+", dtype=np.int32, shape=shape)
        with part.open("r+b") as file:
            # A full disk is told here; later it would be a signal that kills the process.
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
            yield words
            words.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _top(
    logits: Any, top_k: int, temperature: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return ids and probabilities of the k most probable tokens, a few rows at a time."""
    import torch

    ids = np.empty((len(logits), top_k), dtype=np.int32)
    given = np.empty((len(logits), top_k), dtype=np.float32)
    rows = max(1, (1 << 18) // logits.shape[-1])
    for start in range(0, len(logits), rows):
        part = logits[start : start + rows].float() / temperature
        values, at = part.topk(top_k, sorted=False)
        shares = (values - torch.logsumexp(part, -1, keepdim=True)).exp_()
        ids[start : start + rows] = at.cpu().numpy()
        given[start : start + rows] = shares.cpu().numpy()
    return ids, given


def _read(path: Path, shape: tuple[int, ...]) -> Predictions | None:
    """Return a file's predictions, mapped and not read, None where it is absent or damaged."""
    try:
        words = np.lib.format.open_memmap(path, mode="r")  # which reads no pickles
    except (OSError, ValueError, EOFError):
        return None
    if words.shape != shape or words.dtype != np.int32:
        return None
    return Predictions(words[0], words[1].view(np.float32))


def _make_room(folder: Path, needed: int, largest: int) -> None:
    """Delete the files that were used longest ago until so many bytes fit."""
    files = sorted(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime)
    held = sum(path.stat().st_size for path in files)
    for path in files:
        if held + needed <= largest:
            return
        held -= path.stat().st_size
        path.unlink(missing_ok=True)
