"""The qualities of the most similar training prompts, weighted by similarity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from weightcut.routing.encoder import Encoded, Encoder, One, Singles
from weightcut.routing.policy import Arrays, Floats
from weightcut.routing.structure import SHAPE

_NEIGHBOURS = 100
_SHARPNESS = np.float32(4.0)
KEPT = 8_192
"""At most so many prompts are remembered: a decision compares with every one of them."""
RANK = 64
"""Prompts are compared along so many axes: of 103 the others part them little, and cost time."""
_ROWS = 2_048


@dataclass(frozen=True)
class Neighbours:
    """Where the training prompts lie [n, RANK], and their qualities [n, V].

    axes: the principal axes of their points on the sphere [dimensions, RANK].
    """

    axes: Singles
    places: Singles
    quality: Singles

    @classmethod
    def fit(cls, encoded: Encoded, quality: Floats, seed: int) -> Neighbours:
        """Remember the prompts, or as many of them as KEPT allows."""
        rows = np.random.default_rng(seed).permutation(len(quality))[:KEPT]
        points = encoded.place[rows]
        axes = np.ascontiguousarray(np.linalg.svd(points, full_matrices=False)[2][:RANK].T)
        # As they come back from a file, so that a stored router scores like a fresh one.
        places = (points @ axes).astype(np.float16).astype(np.float32)
        return cls(axes, places, quality[rows].astype(np.float32))

    @cached_property
    def _columns(self) -> Singles:
        """The places as columns: one row after the other is read at full speed."""
        return np.ascontiguousarray(self.places.T)

    @property
    def _count(self) -> int:
        return max(1, min(_NEIGHBOURS, len(self.places) // 8))

    def predict(self, one: One) -> Floats:
        """Return every variant's expected quality."""
        similar = (one.place @ self.axes) @ self._columns
        first = len(similar) - self._count
        nearest = np.argpartition(similar, first)[first:]
        weights = np.exp(_SHARPNESS * similar.take(nearest))
        sums = weights @ self.quality.take(nearest, axis=0)
        return np.asarray(sums / weights.sum(), np.float64)

    def predict_many(self, encoded: Encoded) -> Floats:
        """Return the same for many prompts."""
        places: Singles = encoded.place @ self.axes
        parts = [
            self._mean(places[start : start + _ROWS] @ self.places.T)
            for start in range(0, len(places), _ROWS)
        ]
        return np.concatenate(parts)

    def _mean(self, similar: Singles) -> Floats:
        first = len(self.places) - self._count
        nearest = np.argpartition(similar, first, axis=1)[:, first:]
        closeness = np.take_along_axis(similar, nearest, axis=1)
        weights = np.exp(_SHARPNESS * closeness)
        sums = np.einsum("ij,ijk->ik", weights, self.quality[nearest])
        return np.asarray(sums / weights.sum(1)[:, None], np.float64)

    def arrays(self) -> Arrays:
        """Return everything learnt."""
        return {
            "axes": self.axes,
            "places": self.places.astype(np.float16),
            "quality": self.quality,
        }

    @classmethod
    def restore(cls, arrays: Arrays, encoder: Encoder) -> Neighbours:
        """Return the head of these arrays; ValueError where they do not fit."""
        found = cls(*(arrays[name].astype(np.float32) for name in ("axes", "places", "quality")))
        width = encoder.topics + SHAPE
        if (
            not len(found.places)
            or found.axes.ndim != 2
            or found.places.shape != (len(found.quality), found.axes.shape[1])
            or len(found.axes) != width
            or found.quality.ndim != 2
        ):
            raise ValueError("the remembered prompts do not fit the features")
        return found
