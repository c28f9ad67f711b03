"""The policy that knows no prompt: every variant's mean quality."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from weightcut.routing.policy import Floats, State


class Constant:
    """Predict every variant's mean quality, whatever the prompt."""

    kind: ClassVar[str] = "constant"

    def __init__(self, means: Floats) -> None:
        self.means = means

    def predict(self, prompt: str) -> Floats:  # noqa: ARG002 - that is its point
        """Return the means."""
        return self.means

    def state(self) -> State:
        """Return the means."""
        return State({}, {"means": self.means})

    @classmethod
    def restore(cls, state: State) -> Constant:
        """Return the policy of these means."""
        return cls(np.asarray(state.arrays["means"], np.float64))
