"""Logistic regression on n-grams and structure, one output a variant, for qualities in 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from weightcut.routing.encoder import Encoded, Encoder, One, Singles
from weightcut.routing.policy import Arrays, Floats

_STRENGTH = 0.5
"""Inverse of the penalty on n-gram weights, as scikit-learn's C."""
_STRUCTURE = np.float32(0.06)
_ROUNDS = 40


@dataclass(frozen=True)
class Linear:
    """Weights of n-grams [vocabulary, V] and of structure [features, V], and the bias [V]."""

    grams: Singles
    structure: Singles
    bias: Singles

    @classmethod
    def fit(cls, encoded: Encoded, quality: Floats, seed: int) -> Linear:  # noqa: ARG003
        """Minimize the cross-entropy to the qualities with an L2 penalty (L-BFGS, no chance)."""
        from scipy.sparse import csr_matrix, hstack

        dense = csr_matrix(encoded.structure * _STRUCTURE)
        features = hstack([encoded.sparse, dense], format="csr")
        weights, bias = logistic(features, quality, _STRENGTH)
        grams = encoded.sparse.shape[1]
        return cls(weights[:grams], weights[grams:] * _STRUCTURE, bias)

    def predict(self, one: One) -> Floats:
        """Return every variant's expected quality."""
        logits = (
            one.weights @ self.grams.take(one.positions, axis=0) + one.structure @ self.structure
        )
        return sigmoid(np.asarray(logits + self.bias, np.float64))

    def predict_many(self, encoded: Encoded) -> Floats:
        """Return the same for many prompts."""
        logits = encoded.sparse @ self.grams + encoded.structure @ self.structure + self.bias
        return sigmoid(np.asarray(logits, np.float64))

    def arrays(self) -> Arrays:
        """Return everything learnt."""
        return {"grams": self.grams, "structure": self.structure, "bias": self.bias}

    @classmethod
    def restore(cls, arrays: Arrays, encoder: Encoder) -> Linear:
        """Return the head of these arrays; ValueError where they do not fit."""
        found = cls(*(arrays[n].astype(np.float32) for n in ("grams", "structure", "bias")))
        variants = found.bias.shape
        if (
            len(variants) != 1
            or found.grams.shape != (len(encoder.idf), *variants)
            or found.structure.shape != (len(encoder.mean), *variants)
        ):
            raise ValueError("the weights do not fit the vocabulary")
        return found


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function."""
    found: Floats = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
    return found


def logistic(features: Any, quality: Floats, strength: float) -> tuple[Singles, Singles]:
    """Return weights [features, V] and bias [V] for features [n, features] and quality [n, V]."""
    from scipy.optimize import minimize

    width, variants = features.shape[1], quality.shape[1]
    transposed = features.T.tocsr() if hasattr(features, "tocsr") else features.T
    share = quality.mean(0).clip(0.01, 0.99)
    start = np.log(share / (1 - share))

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, bias = flat[:-variants].reshape(width, variants), flat[-variants:] + start
        logits = np.asarray(features @ weights.astype(np.float32), np.float64) + bias
        error = sigmoid(logits) - quality
        entropy = np.logaddexp(0, logits) - quality * logits
        slope = transposed @ error.astype(np.float32) + weights / strength
        penalty = float(np.vdot(weights, weights)) / (2 * strength)
        return float(entropy.sum()) + penalty, np.concatenate([slope.ravel(), error.sum(0)])

    found = minimize(
        loss,
        np.zeros((width + 1) * variants),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ROUNDS, "maxcor": 8},
    ).x
    weights = found[:-variants].reshape(width, variants)
    return weights.astype(np.float32), (found[-variants:] + start).astype(np.float32)
