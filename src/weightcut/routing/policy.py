"""The contract of routing policies, the table of them, and how a stored one is opened.

A policy predicts from the prompt's text alone how well every variant will answer it. When a
prompt is worth the full model is not the policy's to say: `Router` compares the predictions with
a calibrated threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from weightcut.errors import UsageError, nearest

if TYPE_CHECKING:
    from weightcut.routing.encoder import Corpus, Encoded, Encoder

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]
Progress = Callable[[str, float | None], None]


class State(NamedTuple):
    """A fitted policy as plain data: settings for JSON, and arrays of numbers."""

    settings: dict[str, Any]
    arrays: Arrays


class Policy(Protocol):
    """A fitted policy; for n prompts and V variants, the cheapest first."""

    @property
    def kind(self) -> str:
        """Its name in POLICIES."""
        ...

    @property
    def embeds(self) -> bool:
        """Whether a language model reads every prompt."""
        ...

    def predict(self, prompt: str) -> Floats:
        """Return the expected quality of every variant: [V], each from 0 to 1."""
        ...

    def predict_many(self, corpus: Corpus) -> Floats:
        """Return the same for many prompts: [n, V]."""
        ...

    def state(self) -> State:
        """Return what `restore_policy` needs to make the same policy again."""
        ...


@dataclass(frozen=True)
class Training:
    """What a policy is fitted on: prompts, and every variant's quality [n, V] in 0..1.

    signals: what the answers say of themselves, name -> [n, V], NaN where unknown.
    """

    corpus: Corpus
    quality: Floats
    seed: int = 0
    signals: Mapping[str, Floats] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> Encoder:
        """The vocabulary and topics of these prompts, which all learnt policies share."""
        from weightcut.routing.encoder import Encoder

        return Encoder.fit(self.corpus, self.seed)

    @cached_property
    def encoded(self) -> Encoded:
        """These prompts as numbers."""
        return self.encoder.encode_many(self.corpus)

    @cached_property
    def heads(self) -> dict[str, Any]:
        """Heads that are fitted already, for policies that share them."""
        return {}


POLICIES: Mapping[str, str] = {
    "blend": "weightcut.routing.learned",
    "boosted": "weightcut.routing.learned",
    "cascade": "weightcut.routing.cascade",
    "forest": "weightcut.routing.learned",
    "knn": "weightcut.routing.learned",
    "length": "weightcut.routing.rules",
    "linear": "weightcut.routing.learned",
    "rules": "weightcut.routing.rules",
}
"""Policy -> module with `fit(kind, training)` and `restore(kind, state)`."""


def fit_policy(kind: str, training: Training) -> Policy:
    """Fit a policy; unknown: UsageError with the nearest name."""
    policy: Policy = _module(kind).fit(kind, training)
    return policy


def restore_policy(kind: str, state: State, variants: int) -> Policy:
    """Return the policy that a state came from; ValueError, KeyError where it cannot have."""
    policy: Policy = _module(kind).restore(kind, state)
    if policy.predict("").shape != (variants,):
        raise ValueError(f"they are not of {variants} variants")
    return policy


def check_policy(kind: str) -> None:
    """Raise UsageError with the nearest name where there is no such policy."""
    if kind not in POLICIES:
        raise UsageError(f"unknown policy {kind!r}; {nearest(kind, POLICIES)}")


def _module(kind: str) -> Any:
    check_policy(kind)
    return import_module(POLICIES[kind])
