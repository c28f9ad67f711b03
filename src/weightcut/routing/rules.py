"""Policies that a reader can follow: the prompt's length, and a handful of signs of difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from weightcut.routing import ngrams
from weightcut.routing.encoder import Corpus, Singles
from weightcut.routing.policy import Floats, State, Training
from weightcut.routing.structure import NAMES, structure

SIGNS: tuple[str, ...] = (
    "characters",
    "lines",
    "digits",
    "signs +-*/=<>^",
    "signs \\$",
    "signs (){}[]",
    "long_words",
    "says not",
)
"""A prompt has a sign where it has more of the feature than half of the training prompts have.

A sign counts one point for the full model where it went with a loss of the cheapest variant, one
against it where it went with a gain, and none where neither is beyond chance.
"""
_STEPS = 20
_ARRAYS = ("least", "votes", "edges", "means")


@dataclass(frozen=True)
class Rules:
    """The mean quality of the training prompts with about as many points, for every variant.

    least: what each sign must exceed, votes: the points it counts [signs]. edges: points between
    one step and the next. means: [steps, V].
    """

    kind: str
    least: Singles
    votes: Singles
    edges: Singles
    means: Singles

    @property
    def embeds(self) -> bool:
        """Whether a language model reads every prompt: none does."""
        return False

    def predict(self, prompt: str) -> Floats:
        """Return every variant's expected quality."""
        text = ngrams.shorten(prompt)
        found: Floats = self._look_up(structure(text, ngrams.tokens(text))[None, :])[0]
        return found

    def predict_many(self, corpus: Corpus) -> Floats:
        """Return the same for many prompts."""
        return self._look_up(corpus.structure)

    def _look_up(self, rows: Singles) -> Floats:
        step = np.searchsorted(
            self.edges, _points(self.kind, rows, self.least, self.votes), side="right"
        )
        return np.asarray(self.means[step], np.float64)

    def state(self) -> State:
        """Return the table of points and means."""
        return State({}, {name: getattr(self, name) for name in _ARRAYS})


def fit(kind: str, training: Training) -> Rules:
    """Learn how quality goes with the points; steps of few prompts lean towards the mean."""
    rows = training.corpus.structure
    least = np.median(rows[:, [NAMES.index(name) for name in SIGNS]], axis=0).astype(np.float32)
    votes = _votes(rows, least, training.quality[:, -1] - training.quality[:, 0])
    points = _points(kind, rows, least, votes)
    edges = np.unique(np.quantile(points, np.arange(1, _STEPS) / _STEPS)).astype(np.float32)
    step = np.searchsorted(edges, points, side="right")
    overall = training.quality.mean(0)
    means = []
    for s in range(len(edges) + 1):
        mine = training.quality[step == s]
        means.append((mine.sum(0) + 10 * overall) / (len(mine) + 10))
    return Rules(kind, least, votes, edges, np.array(means, np.float32))


def restore(kind: str, state: State) -> Rules:
    """Return the policy of a state."""
    found = Rules(kind, *(state.arrays[name].astype(np.float32) for name in _ARRAYS))
    if not found.least.shape == found.votes.shape == (len(SIGNS),) or found.edges.ndim != 1:
        raise ValueError("the points do not fit the signs")
    sorted_ = all(a < b for a, b in pairwise(found.edges))
    if found.means.ndim != 2 or len(found.means) != len(found.edges) + 1 or not sorted_:
        raise ValueError("the steps do not fit together")
    return found


def _points(kind: str, rows: Singles, least: Singles, votes: Singles) -> Singles:
    if kind == "length":
        return rows[:, NAMES.index("characters")]
    points: Singles = (_signs(rows, least) @ votes).astype(np.float32)
    return points


def _signs(rows: Singles, least: Singles) -> Singles:
    return (rows[:, [NAMES.index(name) for name in SIGNS]] > least).astype(np.float32)


def _votes(rows: Singles, least: Singles, lost: Floats) -> Singles:
    """Return 1, 0 or -1 for each sign, by its correlation with what the cheapest variant lost."""
    signs = _signs(rows, least)
    signs, lost = signs - signs.mean(0), lost - lost.mean()
    scale = np.sqrt((signs**2).sum(0) * (lost**2).sum())
    correlation = (signs * lost[:, None]).sum(0) / np.maximum(scale, 1e-12)
    beyond_chance = np.abs(correlation) > 2 / np.sqrt(len(rows))
    votes: Singles = (np.sign(correlation) * beyond_chance).astype(np.float32)
    return votes
