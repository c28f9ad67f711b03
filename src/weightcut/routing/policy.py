"""The contract of routing policies, and how a stored one is opened.

A policy predicts from the prompt's text alone how well every variant will answer it. When a
prompt is worth the full model is not the policy's to say: `Router` compares the predictions with
a calibrated threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from weightcut.errors import UsageError, nearest

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]
Progress = Callable[[str], None]


class State(NamedTuple):
    """A fitted policy as plain data: settings for JSON, and arrays of numbers."""

    settings: dict[str, Any]
    arrays: Arrays


class Policy(Protocol):
    """A fitted policy."""

    kind: ClassVar[str]

    def predict(self, prompt: str) -> Floats:
        """Return the expected quality of every variant, cheapest first: [variants] in 0..1."""
        ...

    def state(self) -> State:
        """Return what `restore` needs to make the same policy again."""
        ...

    @classmethod
    def restore(cls, state: State) -> Policy:
        """Return the policy that `state` came from; raises ValueError or KeyError if unusable."""
        ...


POLICIES: Mapping[str, str] = {
    "constant": "weightcut.routing.constant:Constant",
}


def load_policy(kind: str) -> Any:
    """Return the class of a policy; unknown: UsageError with the nearest name."""
    if kind not in POLICIES:
        raise UsageError(f"unknown policy {kind!r}; {nearest(kind, POLICIES)}")
    module, _, name = POLICIES[kind].partition(":")
    return getattr(import_module(module), name)
