"""Whether prompts and answers are still like those that the router was calibrated on. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

_BINS = 10
_SURE = 1.645
"""Standard errors of a one-sided test at 5%."""


class ScoreWatch:
    """Compares the latest scores with the first ones.

    The population stability index is sum((p - q) ln(p / q)) over ten bins that hold equal shares
    of the reference; 0.1 is a small shift, 0.25 a large one (Siddiqi 2006, Credit Risk Scorecards).
    """

    def __init__(self, window: int, reference: Sequence[float] = ()) -> None:
        self._window = window
        self._reference = list(reference)
        self._latest: deque[float] = deque(maxlen=window)
        self._edges = _edges(self._reference) if reference else []

    def add(self, score: float) -> None:
        """Take the score of a routed prompt."""
        if not self._edges:
            self._reference.append(score)
            if len(self._reference) >= self._window:
                self._edges = _edges(self._reference)
            return
        self._latest.append(score)

    def psi(self) -> float | None:
        """Return the index, or None before there are two windows to compare."""
        if not self._edges or len(self._latest) < self._window:
            return None
        before, now = self._shares(self._reference), self._shares(self._latest)
        return sum((p - q) * math.log(p / q) for p, q in zip(now, before, strict=True))

    def _shares(self, scores: Sequence[float]) -> list[float]:
        """Return the share in each bin, half a count added so that none is empty."""
        counts = [0.5] * (len(self._edges) + 1)
        for score in scores:
            counts[sum(score > edge for edge in self._edges)] += 1
        total = sum(counts)
        return [count / total for count in counts]


def _edges(scores: Sequence[float]) -> list[float]:
    ordered = sorted(scores)
    return sorted({ordered[len(ordered) * i // _BINS] for i in range(1, _BINS)})


@dataclass
class Pairs:
    """Judged pairs: the quality of the routed answer beside the full model's."""

    size: int = 1000

    def __post_init__(self) -> None:
        self._pairs: deque[tuple[float, float]] = deque(maxlen=self.size)

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, routed: float, full: float) -> None:
        """Take a pair."""
        self._pairs.append((routed, full))

    def lost(self) -> float:
        """Return the share of the full model's quality that was lost."""
        best = sum(full for _, full in self._pairs)
        return 1 - sum(routed for routed, _ in self._pairs) / best if best else 0.0

    def alert(self, share: float, minimum: int) -> bool:
        """Return whether surely (95%) more than the share is lost: a paired test of the means."""
        n = len(self._pairs)
        if n < minimum:
            return False
        losses = [(1 - share) * full - routed for routed, full in self._pairs]
        mean = sum(losses) / n
        variance = sum((loss - mean) ** 2 for loss in losses) / (n - 1)
        return mean > 0 and mean > _SURE * math.sqrt(variance / n)


@dataclass
class Verdicts:
    """Users' verdicts on answers of the lighter variants and of the full one."""

    light_good: int = 0
    light: int = 0
    full_good: int = 0
    full: int = 0

    def add(self, *, of_full: bool, accepted: bool, count: int = 1) -> None:
        """Take a verdict; count -1 takes it back."""
        if of_full:
            self.full, self.full_good = self.full + count, self.full_good + count * accepted
        else:
            self.light, self.light_good = self.light + count, self.light_good + count * accepted

    def alert(self, share: float, minimum: int) -> bool:
        """Return whether lighter answers are surely (95%) accepted less, by more than the share.

        Routed prompts differ from those that the full model got, so this is a hint and no proof.
        """
        if min(self.light, self.full) < minimum:
            return False
        light, full = self.light_good / self.light, self.full_good / self.full
        wanted = (1 - share) * full
        error = light * (1 - light) / self.light + (1 - share) ** 2 * full * (1 - full) / self.full
        return light < wanted and wanted - light > _SURE * math.sqrt(error)
