"""Word and character n-grams of a prompt as hashed numbers, the same on every machine and run.

The feature hashing of Weinberger et al. 2009 (arXiv:0902.2206) without signs, written for a single
short text: scikit-learn's vectorizers cost milliseconds a call.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BITS = 18
"""A hash has so many bits; words and characters each have their own space of 2**BITS."""
SPACE = np.uint32(1 << BITS)
LONGEST = 32_768
"""Characters of a prompt that are looked at: the first and last halves of so many."""
CHARS = 1_024
_TOKEN = re.compile(r"[^\W\d_]+|\S")
_ASCII_TOKEN = re.compile(r"[a-z]+|[^a-z\s]")
"""The same on ASCII text, twice as fast."""
_RUNS = (3, 4)
_U32 = np.uint32

Ids = npt.NDArray[np.uint32]


def shorten(prompt: str) -> str:
    """Return the prompt, a very long one without its middle, as text that UTF-8 can hold."""
    if len(prompt) > LONGEST:
        prompt = prompt[: LONGEST // 2] + "\n" + prompt[-LONGEST // 2 :]
    return prompt if prompt.isascii() else prompt.encode("utf-8", "replace").decode("utf-8")


def tokens(prompt: str) -> list[str]:
    """Return the words, digits and signs of a prompt in small letters."""
    return (_ASCII_TOKEN if prompt.isascii() else _TOKEN).findall(prompt.lower())


class _Hashes(dict[str, int]):
    """CRC-32 of words, remembered: most words of a prompt were in earlier ones."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = zlib.crc32(word.encode())
        if len(word) <= _LONGEST_WORD:
            self[word] = found
        return found


_REMEMBERED = 1 << 16
_LONGEST_WORD = 32
_HASHES = _Hashes()


def grams(prompt: str, words: Sequence[str]) -> Ids:
    """Return the hashes of all tokens, pairs of neighbours, and runs of characters, in any order.

    words: `tokens(prompt)`. Those of characters lie SPACE higher than those of words.
    """
    of_words, of_chars = _word_codes(words), _char_codes(prompt)
    found = _mixed(np.concatenate([*of_words, *of_chars]))
    found[sum(map(len, of_words)) :] += SPACE
    return found


def _word_codes(words: Sequence[str]) -> tuple[Ids, Ids]:
    """Return the codes of all tokens and of all pairs of neighbours."""
    single = np.fromiter(map(_HASHES.__getitem__, words), _U32, len(words))
    return single + _U32(1), single[:-1] * _U32(0x9E3779B1) + single[1:]


def _char_codes(prompt: str) -> list[Ids]:
    """Return the codes of all runs of 3 and 4 bytes (UTF-8, spaces folded) of both ends.

    Spelling shows itself in little text: the first and last CHARS / 2 characters are enough.
    """
    if len(prompt) > CHARS:
        prompt = prompt[: CHARS // 2] + " " + prompt[-CHARS // 2 :]
    text = " ".join(prompt.lower().split()).encode()
    codes = np.frombuffer(text, np.uint8).astype(_U32)
    found, rolling = [], codes
    for n in range(2, max(_RUNS) + 1):
        rolling = rolling[:-1] * _U32(0x01000193) + codes[n - 1 :][: max(0, len(rolling) - 1)]
        if n in _RUNS:
            found.append(rolling + _U32(n * 0x51ED27))
    return found


def _mixed(codes: Ids) -> Ids:
    """Return the codes scattered over BITS bits (the finalizer of Wellons' lowbias32)."""
    codes = codes ^ (codes >> _U32(16))
    codes = codes * _U32(0x7FEB352D)
    codes = codes ^ (codes >> _U32(15))
    codes = codes * _U32(0x846CA68B)
    return (codes ^ (codes >> _U32(16))) >> _U32(32 - BITS)


def counted(ids: Ids) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Return the different ids in order, and how often each occurs."""
    ordered = np.sort(ids)
    if not len(ordered):
        return ordered, np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def count_matrix(rows: list[Ids]) -> Any:
    """Return the counts of every row's ids as a sparse matrix (CSR float32) [rows, 2 * SPACE]."""
    from scipy.sparse import csr_matrix

    pairs = [counted(row) for row in rows]
    ends = np.cumsum([0, *(len(ids) for ids, _ in pairs)])
    ids = np.concatenate([ids for ids, _ in pairs]) if pairs else np.zeros(0, _U32)
    counts = np.concatenate([n for _, n in pairs]) if pairs else np.zeros(0)
    shape = (len(rows), 2 * int(SPACE))
    return csr_matrix((counts.astype(np.float32), ids.astype(np.int32), ends), shape=shape)
