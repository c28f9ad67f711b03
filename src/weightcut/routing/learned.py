"""Policies that learn from n-grams, topics and structure: an encoder and one or more heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from weightcut.errors import missing_extra
from weightcut.routing.embedding import Embedding
from weightcut.routing.encoder import Corpus, Encoded, Encoder, One
from weightcut.routing.policy import Arrays, Floats, State, Training


class Head(Protocol):
    """One way to predict quality from an encoded prompt."""

    def predict(self, one: One) -> Floats:
        """Return every variant's expected quality [V]."""
        ...

    def predict_many(self, encoded: Encoded) -> Floats:
        """Return the same for many prompts [n, V]."""
        ...

    def arrays(self) -> Arrays:
        """Return everything learnt."""
        ...


HEADS: Mapping[str, str] = {
    "boosted": "weightcut.routing.trees:Boosted",
    "forest": "weightcut.routing.trees:Forest",
    "knn": "weightcut.routing.knn:Neighbours",
    "linear": "weightcut.routing.linear:Linear",
}
BLEND = ("linear", "boosted", "knn", "forest")
"""Each errs in its own way; their plain mean errs less than any, and has nothing to tune."""


@dataclass(frozen=True)
class Learned:
    """The mean of its heads' predictions."""

    kind: str
    encoder: Encoder
    heads: Mapping[str, Head]

    @property
    def embeds(self) -> bool:
        """Whether a language model reads every prompt."""
        return self.encoder.embedding is not None

    def predict(self, prompt: str) -> Floats:
        """Return every variant's expected quality."""
        one = self.encoder.encode(prompt)
        found = [head.predict(one) for head in self.heads.values()]
        mean: Floats = np.clip(sum(found[1:], start=found[0]) / len(found), 0, 1)
        return mean

    def predict_many(self, corpus: Corpus) -> Floats:
        """Return the same for many prompts."""
        encoded = self.encoder.encode_many(corpus)
        return np.clip(
            sum(h.predict_many(encoded) for h in self.heads.values()) / len(self.heads), 0, 1
        )

    def state(self) -> State:
        """Return the encoder's arrays and each head's, under its name."""
        arrays = {f"encoder.{name}": values for name, values in self.encoder.arrays().items()}
        for kind, head in self.heads.items():
            arrays |= {f"{kind}.{name}": values for name, values in head.arrays().items()}
        settings: dict[str, Any] = {"heads": list(self.heads)}
        if (embedding := self.encoder.embedding) is not None:
            settings["embedding"] = {"folder": str(embedding.folder), "digest": embedding.digest}
        return State(settings, arrays)


def fit(kind: str, training: Training) -> Learned:
    """Fit the heads of a policy; those that another policy of the same training has are shared."""
    if find_spec("sklearn") is None:
        raise missing_extra("scikit-learn", "router")
    for name in _heads_of(kind):
        if name not in training.heads:
            training.heads[name] = _class(name).fit(
                training.encoded, training.quality, training.seed
            )
    heads = {name: training.heads[name] for name in _heads_of(kind)}
    return Learned(kind, training.encoder, heads)


def restore(kind: str, state: State) -> Learned:
    """Return the policy of a state."""
    names = _heads_of(kind)
    embedding = None
    if (known := state.settings.get("embedding")) is not None:
        embedding = Embedding(Path(known["folder"]), str(known["digest"]))
    if state.settings.get("heads") != list(names):
        raise ValueError(f"a {kind} policy has the heads {', '.join(names)}")

    def part(prefix: str) -> Arrays:
        return {
            name.removeprefix(f"{prefix}."): values
            for name, values in state.arrays.items()
            if name.startswith(f"{prefix}.")
        }

    encoder = Encoder.restore(part("encoder"), embedding)
    return Learned(kind, encoder, {n: _class(n).restore(part(n), encoder) for n in names})


def _heads_of(kind: str) -> tuple[str, ...]:
    return BLEND if kind == "blend" else (kind,)


def _class(name: str) -> Any:
    module, _, attribute = HEADS[name].partition(":")
    return getattr(import_module(module), attribute)
