"""A cascade: the cheapest variant answers first, and its answer decides whether the full one must.

What the answer says of itself (mean log-probability of its tokens, whether its code parses, whether
it passes the tests that the prompt shows) is weighed by a small logistic regression together with
what the prompt alone lets expect. FrugalGPT's cascade (arXiv:2305.05176) with a calibrated stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weightcut.errors import UsageError
from weightcut.routing.encoder import Corpus, Singles
from weightcut.routing.learned import Learned
from weightcut.routing.learned import fit as fit_learned
from weightcut.routing.learned import restore as restore_learned
from weightcut.routing.linear import logistic, sigmoid
from weightcut.routing.policy import Floats, State, Training

NAMES = ("mean_logprob", "parses", "tests_passed")
_PROMPT = "linear"
_FOLDS = 4
_OWN = ("weights", "bias", "mean", "scale")


@dataclass(frozen=True)
class Cascade:
    """The judge of first answers, on top of a policy that knows the prompt.

    weights, bias: of the logistic regression on `_columns`. mean, scale: of the signals.
    """

    kind: str
    prompt: Learned
    weights: Singles
    bias: Singles
    mean: Singles
    scale: Singles

    @property
    def embeds(self) -> bool:
        """Whether a language model reads every prompt."""
        return self.prompt.embeds

    def predict(self, prompt: str) -> Floats:
        """Return every variant's expected quality before any answer is there."""
        return self.prompt.predict(prompt)

    def predict_many(self, corpus: Corpus) -> Floats:
        """Return the same for many prompts."""
        return self.prompt.predict_many(corpus)

    def judge(self, predicted: Floats, signals: Floats) -> Floats:
        """Return the expected quality of first answers [n].

        predicted: by the prompts alone [n, V]. signals: as NAMES [n, 3], NaN where unknown.
        """
        columns = _columns(predicted, (signals - self.mean) * self.scale)
        return sigmoid(columns @ self.weights + self.bias)[:, 0]

    def state(self) -> State:
        """Return the prompt's policy and the judge."""
        settings, arrays = self.prompt.state()
        own = {f"judge.{n}": getattr(self, n) for n in _OWN}
        return State(settings, arrays | own)


def fit(kind: str, training: Training) -> Cascade:
    """Fit the judge on first answers of the training prompts; UsageError without their signals.

    What the prompt lets expect is predicted by models that did not learn from that prompt.
    """
    signals = first_signals(training.signals)
    if signals is None:
        raise UsageError(
            "a cascade needs signals of the answers",
            place="--policy cascade",
            cure=f"give the table a column {', '.join(NAMES)}, or choose another policy",
        )
    n = len(training.quality)
    fold = np.random.default_rng(training.seed).permutation(n) % _FOLDS
    predicted = np.empty_like(training.quality)
    for f in range(_FOLDS):
        rest, mine = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        part = Training(training.corpus.take(rest), training.quality[rest], training.seed)
        predicted[mine] = fit_learned(_PROMPT, part).predict_many(training.corpus.take(mine))
    known = ~np.isnan(signals)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, signals, 0).sum(0) / count
    spread = np.sqrt(np.where(known, (signals - mean) ** 2, 0).sum(0) / count)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
    columns = _columns(predicted, (signals - mean) * scale)
    weights, bias = logistic(columns.astype(np.float32), training.quality[:, :1], 10.0)
    prompt = fit_learned(_PROMPT, training)
    return Cascade(kind, prompt, weights, bias, mean.astype(np.float32), scale.astype(np.float32))


def restore(kind: str, state: State) -> Cascade:
    """Return the policy of a state."""
    own = {n: state.arrays[f"judge.{n}"].astype(np.float32) for n in _OWN}
    prompt = restore_learned(_PROMPT, state)
    width = _columns(np.zeros((1, 2)), np.zeros((1, len(NAMES)))).shape[1]
    shapes = [own[n].shape for n in _OWN]
    if shapes != [(width, 1), (1,), (len(NAMES),), (len(NAMES),)]:
        raise ValueError("the judge of the cascade does not fit its signals")
    return Cascade(kind, prompt, **own)


def first_signals(signals: Mapping[str, Floats]) -> Floats | None:
    """Return the signals of the cheapest variant's answers [n, 3], None where there are none."""
    found = [name for name in NAMES if name in signals and not np.isnan(signals[name][:, 0]).all()]
    if not found:
        return None
    rows = len(signals[found[0]])
    unknown = np.full(rows, np.nan)
    return np.column_stack([signals[n][:, 0] if n in found else unknown for n in NAMES])


def _columns(predicted: Floats, standard: Floats) -> Floats:
    """Return the judge's features: both expectations, the signals, and which are unknown."""
    known = ~np.isnan(standard)
    filled = np.where(known, np.clip(standard, -4, 4), 0)
    ends = np.log(np.clip(predicted[:, [0, -1]], 0.01, 0.99)) - np.log(
        1 - np.clip(predicted[:, [0, -1]], 0.01, 0.99)
    )
    return np.hstack([ends, filled, known])
