"""How well a variant predicts text, and how far its predictions are from the baseline's.

The baseline's distributions are kept as their top k entries (4 + 4 bytes an entry instead of the
whole vocabulary), which makes the KL divergence a lower bound: see `window_scores`.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weightcut.errors import BrokenInput, UsageError

_NO_SUCH_FILE = (
    OSError, ValueError, KeyError, EOFError, TypeError,
    zipfile.BadZipFile, zlib.error, NotImplementedError,
)  # fmt: skip
"""What numpy and zipfile raise of damaged files: each was seen."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TopK:
    """The k most probable tokens at each position, most probable first.

    ids: int32 [positions, k]. logp: float32 [positions, k], natural-log probabilities.
    """

    ids: Ints
    logp: Floats


def top_k(values: Floats, k: int) -> TopK:
    """Return the k best entries of each row of log-probabilities [positions, vocabulary].

    Equal log-probabilities are ordered by token id, so that the first column is numpy's argmax.
    k larger than the vocabulary means all of it.
    """
    vocabulary = values.shape[1]
    k = min(k, vocabulary)
    if k < 1:
        raise ValueError(f"top_k needs k >= 1, not {k}")
    best = _largest(values, k)
    kept = np.take_along_axis(values, best, axis=1)
    # Among equal maxima the first one may have been left out: put it in the place of another.
    first = values.argmax(axis=1)
    rows = np.flatnonzero((best != first[:, None]).all(axis=1))
    best[rows, kept[rows].argmax(axis=1)] = first[rows]
    best.sort(axis=1)
    kept = np.take_along_axis(values, best, axis=1)
    order = np.argsort(-kept, axis=1, kind="stable")
    return TopK(
        np.take_along_axis(best, order, axis=1).astype(np.int32),
        np.take_along_axis(kept, order, axis=1).astype(np.float32),
    )


def _largest(values: Floats, k: int) -> npt.NDArray[np.int64]:
    """Return the columns of the k largest entries of each row, in no order.

    The k largest lie in the k blocks of columns with the largest maxima, so that only these need
    a selection: about ten times faster than one over a vocabulary of 50,000.
    """
    vocabulary = values.shape[1]
    width = max(1, int((vocabulary / k) ** 0.5))
    blocks = vocabulary // width
    if width < 4 or blocks <= k:
        return np.argpartition(values, vocabulary - k, axis=1)[:, vocabulary - k :]
    whole = blocks * width
    peaks = values[:, :whole].reshape(len(values), blocks, width).max(axis=2)
    chosen = np.argpartition(peaks, blocks - k, axis=1)[:, blocks - k :]
    columns = (chosen[:, :, None] * width + np.arange(width)).reshape(len(values), k * width)
    rest = np.broadcast_to(np.arange(whole, vocabulary), (len(values), vocabulary - whole))
    columns = np.concatenate([columns, rest], axis=1)
    candidates = np.take_along_axis(values, columns, axis=1)
    picked = np.argpartition(candidates, columns.shape[1] - k, axis=1)[:, columns.shape[1] - k :]
    return np.take_along_axis(columns, picked, axis=1)


def save(reference: TopK, path: Path) -> None:
    """Write the entries as a compressed .npz file."""
    np.savez_compressed(path, ids=reference.ids, logp=reference.logp)


def load(path: Path) -> TopK:
    """Read what `save` wrote; never unpickles. A file that is not one raises BrokenInput."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return TopK(arrays["ids"], arrays["logp"])
    except _NO_SUCH_FILE as error:
        raise BrokenInput("not a file of stored distributions", place=str(path)) from error


def window_scores(
    values: Floats, ids: npt.NDArray[np.int64], reference: TopK | None = None
) -> dict[str, float]:
    """Score one window of text; the results are sums over its predicted positions.

    values: log-probabilities [length - 1, vocabulary]; row i predicts ids[i + 1].
    Returns `nll` (nats), `tokens` and `right`, the positions whose most probable token is the one
    that comes; with the baseline's entries also

    - `kl` (nats): KL(baseline || variant) where the baseline's top k are told apart and all other
      tokens are pooled into one bucket on both sides. Pooling can only lower a divergence (data
      processing inequality), so it is a lower bound of the exact KL, and exact for k = vocabulary;
    - `pooled`: the baseline's probability mass outside its top k, which tells how coarse that is;
    - `agree`: positions where both have the same most probable token;
    - `lost`, `gained`: positions that go from right to wrong, and from wrong to right.

    A token that the variant holds for impossible gives an infinite nll or kl, never a NaN.
    """
    positions = len(ids) - 1
    if values.shape[0] != positions:
        raise UsageError(f"{values.shape[0]} predictions for a window of {len(ids)} tokens")
    rows = np.arange(positions)
    scores = {
        "nll": -float(values[rows, ids[1:]].sum(dtype=np.float64)),
        "tokens": float(positions),
    }
    best = values.argmax(axis=1)
    right = best == ids[1:]
    scores["right"] = float(right.sum())
    if reference is None:
        return scores
    if reference.ids.shape[0] != positions:
        raise UsageError(
            f"the baseline has {reference.ids.shape[0]} positions, this window {positions}",
            cure="measure both on the same windows",
        )
    ours = np.take_along_axis(values, reference.ids, axis=1).astype(np.float64)
    theirs = reference.logp.astype(np.float64)
    divergence = _divergence(theirs, ours)
    pooled = np.zeros(positions)
    if reference.ids.shape[1] < values.shape[1]:
        rest = _log_rest(theirs)
        divergence += _divergence(rest[:, None], _log_rest(ours)[:, None])
        pooled = np.exp(rest)
    scores["kl"] = float(np.maximum(divergence, 0.0).sum())
    scores["pooled"] = float(pooled.sum())
    scores["agree"] = float((best == reference.ids[:, 0]).sum())
    was_right = reference.ids[:, 0] == ids[1:]
    scores["lost"] = float((was_right & ~right).sum())
    scores["gained"] = float((right & ~was_right).sum())
    return scores


Doubles = npt.NDArray[np.float64]


def _divergence(log_p: Doubles, log_q: Doubles) -> Doubles:
    """Return sum(p * (log p - log q)) of each row; where p is 0 a term is 0 whatever q is."""
    possible = np.isfinite(log_p)
    log_p = np.where(possible, log_p, 0.0)
    log_q = np.where(possible, log_q, 0.0)
    terms: Doubles = np.where(possible, np.exp(log_p) * (log_p - log_q), 0.0).sum(axis=1)
    return terms


def _log_rest(logp: Doubles) -> Doubles:
    """Return log(1 - sum(exp(logp))) of each row, by log1mexp of the row's log-sum-exp.

    Source of log1mexp: M. Maechler, "Accurately computing log(1 - exp(-|a|))" (2012). Rows whose
    rounded probabilities add up to 1 or more are held at the last place of float32, for that is
    how far their sum is known.
    """
    peak = np.maximum(logp.max(axis=1, keepdims=True), -1e300)
    total = np.exp(logp - peak).sum(axis=1)
    known = -float(np.finfo(np.float32).eps)
    total = np.where(total > 0, peak[:, 0] + np.log(np.where(total > 0, total, 1.0)), -np.inf)
    total = np.minimum(total, known)
    rest: Doubles = np.where(
        total > -np.log(2.0),
        np.log(-np.expm1(np.maximum(total, -1.0))),
        np.log1p(-np.exp(np.minimum(total, -0.5))),
    )
    return rest
