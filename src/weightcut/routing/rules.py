"""Policies that a reader can follow: the prompt's length, and a handful of signs of difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from weightcut.routing import ngrams
from weightcut.routing.encoder import Corpus, Singles
from weightcut.routing.policy import Floats, State, Training
from weightcut.routing.structure import NAMES, structure

SIGNS: tuple[tuple[str, float], ...] = (
    ("characters", 6.4),
    ("lines", 2.5),
    ("digits", 1.7),
    ("signs +-*/=<>^", 1.3),
    ("signs \\$", 0.6),
    ("signs (){}[]", 2.0),
    ("long_words", 0.25),
    ("says not", 0.5),
)
"""Each sign of difficulty counts one point: the feature (weightcut.routing.structure) is more.

Counts are logarithms: 6.4 means 600 characters, 2.5 eleven lines, 1.7 five digits.
"""
_STEPS = 20


@dataclass(frozen=True)
class Rules:
    """The mean quality of the training prompts with about as many points, for every variant.

    edges: points between one step and the next. means: [steps, V].
    """

    kind: str
    edges: Singles
    means: Singles

    def predict(self, prompt: str) -> Floats:
        """Return every variant's expected quality."""
        text = ngrams.shorten(prompt)
        return self._look_up(structure(text, ngrams.tokens(text))[None, :])[0]

    def predict_many(self, corpus: Corpus) -> Floats:
        """Return the same for many prompts."""
        return self._look_up(corpus.structure)

    def _look_up(self, rows: Singles) -> Floats:
        step = np.searchsorted(self.edges, _points(self.kind, rows), side="right")
        return np.asarray(self.means[step], np.float64)

    def state(self) -> State:
        """Return the edges and the means."""
        return State({}, {"edges": self.edges, "means": self.means})


def fit(kind: str, training: Training) -> Rules:
    """Learn how quality goes with the points; steps of few prompts lean towards the mean."""
    points = _points(kind, training.corpus.structure)
    edges = np.unique(np.quantile(points, np.arange(1, _STEPS) / _STEPS)).astype(np.float32)
    step = np.searchsorted(edges, points, side="right")
    overall = training.quality.mean(0)
    means = []
    for s in range(len(edges) + 1):
        rows = training.quality[step == s]
        means.append((rows.sum(0) + 10 * overall) / (len(rows) + 10))
    return Rules(kind, edges, np.array(means, np.float32))


def restore(kind: str, state: State) -> Rules:
    """Return the policy of a state."""
    found = Rules(kind, state.arrays["edges"], state.arrays["means"].astype(np.float32))
    sorted_ = all(a < b for a, b in pairwise(found.edges))
    if found.means.ndim != 2 or len(found.means) != len(found.edges) + 1 or not sorted_:
        raise ValueError("the steps do not fit together")
    return found


def _points(kind: str, rows: Singles) -> Singles:
    if kind == "length":
        return rows[:, NAMES.index("characters")]
    signs = [rows[:, NAMES.index(name)] > least for name, least in SIGNS]
    return np.sum(signs, axis=0, dtype=np.float32)
