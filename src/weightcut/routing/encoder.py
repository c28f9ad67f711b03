"""Prompts as numbers: tf-idf of hashed n-grams, topics (truncated SVD), and structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.routing import ngrams
from weightcut.routing.embedding import Embedding
from weightcut.routing.policy import Arrays
from weightcut.routing.structure import NAMES, SHAPE, structure

VOCABULARY = 1 << 16
"""At most so many n-grams of either kind are kept, the most frequent ones."""
TOPIC_WORDS = 1 << 13
"""Topics are made of the so many most frequent words and word pairs."""
TOPICS = 64
_CLIP = 4.0
_STRUCTURE_WEIGHT = 0.15
_EPSILON = 1e-9

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Prompts, taken apart once and for all: nothing here is learnt, so any subset may share it.

    words, chars: counts of hashed n-grams (CSR) [n, 2**BITS]. structure: [n, features]. meaning:
    what `embedding` makes of them [n, its width], where there is one.
    """

    words: Any
    chars: Any
    structure: Singles
    meaning: Singles | None = None
    embedding: Embedding | None = None

    @classmethod
    def of(cls, prompts: Sequence[str], embedding: Embedding | None = None) -> Corpus:
        """Take prompts apart."""
        texts = [ngrams.shorten(prompt) for prompt in prompts]
        tokens = [ngrams.tokens(text) for text in texts]
        counts = ngrams.count_matrix(
            [ngrams.grams(text, words) for text, words in zip(texts, tokens, strict=True)]
        )
        return cls(
            counts[:, : int(ngrams.SPACE)],
            counts[:, int(ngrams.SPACE) :],
            np.array([structure(t, words) for t, words in zip(texts, tokens, strict=True)]),
            None if embedding is None else embedding.many(texts),
            embedding,
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Corpus:
        """Return some of the prompts."""
        meaning = None if self.meaning is None else self.meaning[rows]
        return Corpus(
            self.words[rows], self.chars[rows], self.structure[rows], meaning, self.embedding
        )

    def __len__(self) -> int:
        return len(self.structure)


@dataclass(frozen=True)
class Encoded:
    """Prompts as numbers, one row each.

    sparse: tf-idf of words, then characters (CSR) [n, vocabulary]. structure: standardized and
    clipped [n, features]. topics: [n, topics], the axes of meaning among them.
    """

    sparse: Any
    structure: Singles
    topics: Singles

    @cached_property
    def dense(self) -> Singles:
        """Structure and topics side by side, for trees."""
        return np.hstack([self.structure, self.topics]).astype(np.float32)

    @cached_property
    def place(self) -> Singles:
        """Topics and, with less weight, structure as points on a sphere, for neighbours."""
        both = np.hstack(
            [unit(self.topics), np.float32(_STRUCTURE_WEIGHT) * self.structure[:, :SHAPE]]
        )
        return unit(both)


@dataclass(frozen=True)
class One:
    """One prompt as numbers: where in the vocabulary it has which weight, and the dense parts."""

    positions: npt.NDArray[np.int32]
    weights: Singles
    structure: Singles
    topics: Singles

    @property
    def dense(self) -> Singles:
        """Structure and topics, for trees."""
        return np.concatenate([self.structure, self.topics])

    @property
    def place(self) -> Singles:
        """The point on the sphere, for neighbours."""
        topics = self.topics / np.float32(np.sqrt(self.topics @ self.topics) + _EPSILON)
        both = np.concatenate([topics, np.float32(_STRUCTURE_WEIGHT) * self.structure[:SHAPE]])
        return np.asarray(both / np.float32(np.sqrt(both @ both) + _EPSILON), np.float32)


@dataclass(frozen=True)
class Encoder:
    """The vocabulary, its inverse document frequencies, the topics and the scale of structure.

    words, chars: hashes, the most frequent first. idf: of words, then chars. loadings: of the first
    words in each topic [TOPIC_WORDS at most, topics]. mean, scale: of structure. centre, axes: of
    meaning [width], [width, axes]: its principal components, where there is an embedding.
    """

    words: ngrams.Ids
    chars: ngrams.Ids
    idf: Singles
    loadings: Singles
    mean: Singles
    scale: Singles
    centre: Singles = field(default_factory=lambda: np.zeros(0, np.float32))
    axes: Singles = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    embedding: Embedding | None = None

    @classmethod
    def fit(cls, corpus: Corpus, seed: int) -> Encoder:
        """Learn from training prompts; labels play no part."""
        words, word_idf = _vocabulary(corpus.words, 2)
        chars, char_idf = _vocabulary(corpus.chars, 3)
        mean = corpus.structure.mean(0)
        scale = 1 / (corpus.structure.std(0) + np.float32(1e-6))
        idf = np.concatenate([word_idf, char_idf])
        bare = cls(words, chars, idf, np.zeros((0, 0), np.float32), mean, scale)
        weights = bare._weights(corpus.words, words, 0)
        loadings = _topics(weights[:, :TOPIC_WORDS], seed)
        if corpus.meaning is None:
            return cls(words, chars, idf, loadings, mean, scale)
        centre, axes = _axes(corpus.meaning, seed)
        return cls(words, chars, idf, loadings, mean, scale, centre, axes, corpus.embedding)

    @property
    def topics(self) -> int:
        """How many topics and axes of meaning there are."""
        return int(self.loadings.shape[1] + self.axes.shape[1])

    def encode_many(self, corpus: Corpus) -> Encoded:
        """Return prompts as numbers."""
        from scipy.sparse import hstack

        words = self._weights(corpus.words, self.words, 0)
        chars = self._weights(corpus.chars, self.chars, len(self.words))
        topics = words[:, : len(self.loadings)] @ self.loadings
        if corpus.meaning is not None and self.embedding is not None:
            topics = np.hstack([topics, (corpus.meaning - self.centre) @ self.axes])
        return Encoded(
            hstack([words, chars], format="csr") * np.float32(np.sqrt(0.5)),
            self._standard(corpus.structure),
            np.asarray(topics, np.float32),
        )

    def encode(self, prompt: str) -> One:
        """Return one prompt as numbers, the same as `encode_many` gives it."""
        text = ngrams.shorten(prompt)
        tokens = ngrams.tokens(text)
        different, counts = ngrams.counted(ngrams.grams(text, tokens))
        positions = self._table.take(different)
        known = positions >= 0
        border = int(np.count_nonzero(known[: np.searchsorted(different, ngrams.SPACE)]))
        positions = positions[known]
        weights = 1 + np.log(counts[known].astype(np.float32))
        weights *= self.idf.take(positions)
        for part in (weights[:border], weights[border:]):
            part /= np.sqrt(part @ part) + np.float32(_EPSILON)
        topical = positions[:border] < len(self.loadings)
        rows = self.loadings.take(positions[:border][topical], axis=0)
        topics = weights[:border][topical] @ rows
        if self.embedding is not None:
            meaning = (self.embedding.one(text) - self.centre) @ self.axes
            topics = np.concatenate([topics, meaning], dtype=np.float32)
        return One(
            positions,
            weights * np.float32(np.sqrt(0.5)),
            self._standard(structure(text, tokens)),
            topics,
        )

    def arrays(self) -> Arrays:
        """Return everything learnt, for a file."""
        return {
            "words": self.words,
            "chars": self.chars,
            "idf": self.idf,
            "loadings": self.loadings.astype(np.float16),
            "mean": self.mean,
            "scale": self.scale,
            "centre": self.centre,
            "axes": self.axes,
        }

    @classmethod
    def restore(cls, arrays: Arrays, embedding: Embedding | None = None) -> Encoder:
        """Return the encoder of these arrays; ValueError where they do not fit together."""
        words, chars = (arrays[name].astype(np.uint32) for name in ("words", "chars"))
        names = ("idf", "loadings", "mean", "scale", "centre", "axes")
        singles = {n: arrays[n].astype(np.float32) for n in names}
        width = len(NAMES)
        fits = (
            words.ndim == chars.ndim == 1
            and singles["idf"].shape == (len(words) + len(chars),)
            and singles["loadings"].ndim == 2
            and len(singles["loadings"]) <= len(words)
            and singles["centre"].ndim == 1
            and singles["axes"].ndim == 2
            and len(singles["axes"]) == len(singles["centre"])
            and (embedding is None) == (singles["axes"].size == 0)
            and singles["mean"].shape == singles["scale"].shape == (width,)
            and all(int(ids.max(initial=0)) < 1 << ngrams.BITS for ids in (words, chars))
            and all(np.isfinite(values).all() for values in singles.values())
        )
        if not fits:
            raise ValueError("the arrays of the features do not fit together")
        return cls(words, chars, **singles, embedding=embedding)

    @cached_property
    def _table(self) -> npt.NDArray[np.int32]:
        """Where each hash stands in the vocabulary, -1 for none: words, then characters."""
        table = np.full(2 * int(ngrams.SPACE), -1, np.int32)
        table[self.words] = np.arange(len(self.words))
        table[self.chars + ngrams.SPACE] = np.arange(len(self.words), len(self.idf))
        return table

    def _weights(self, counts: Any, vocabulary: ngrams.Ids, offset: int) -> Any:
        from scipy.sparse import diags

        weights = counts[:, vocabulary.astype(np.int64)].tocsr()
        weights.data = 1 + np.log(weights.data)
        weights = weights @ diags(self.idf[offset : offset + len(vocabulary)])
        norms = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel()) + _EPSILON
        return (diags((1 / norms).astype(np.float32)) @ weights).tocsr()

    def _standard(self, values: Singles) -> Singles:
        scaled: Singles = np.clip((values - self.mean) * self.scale, -_CLIP, _CLIP)
        return scaled


def unit(rows: Singles) -> Singles:
    """Return rows of length 1."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    scaled: Singles = (rows / (norms + np.float32(_EPSILON))).astype(np.float32)
    return scaled


def _vocabulary(counts: Any, least: int) -> tuple[ngrams.Ids, Singles]:
    """Return the n-grams of at least so many prompts, most frequent first, and their idf."""
    found = np.bincount(counts.indices, minlength=counts.shape[1])
    kept = np.flatnonzero(found >= min(least, counts.shape[0]))
    kept = kept[np.argsort(-found[kept], kind="stable")][:VOCABULARY]
    idf = np.log((1 + counts.shape[0]) / (1 + found[kept])) + 1
    return kept.astype(np.uint32), idf.astype(np.float32)


def _axes(meaning: Singles, seed: int) -> tuple[Singles, Singles]:
    """Return the mean of vectors, and their principal axes scaled to a mean length of 1."""
    from sklearn.utils.extmath import randomized_svd

    centre = meaning.mean(0)
    rank = max(1, min(TOPICS, *(side - 1 for side in meaning.shape)))
    _, _, rows = randomized_svd(meaning - centre, rank, random_state=seed)
    axes = rows.T
    lengths = np.sqrt((((meaning - centre) @ axes) ** 2).sum(1))
    return centre.astype(np.float32), (axes / (lengths.mean() + _EPSILON)).astype(np.float32)


def _topics(weights: Any, seed: int) -> Singles:
    """Return the loadings of the leading singular vectors (Halko et al. 2011, randomized)."""
    from sklearn.utils.extmath import randomized_svd

    rank = min(TOPICS, min(weights.shape) - 1)
    if rank < 1:
        return np.zeros((weights.shape[1], 0), np.float32)
    _, _, rows = randomized_svd(weights, rank, n_iter=3, random_state=seed)
    # As they come back from a file, so that a stored router scores like a fresh one.
    return np.ascontiguousarray(rows.T).astype(np.float16).astype(np.float32)
