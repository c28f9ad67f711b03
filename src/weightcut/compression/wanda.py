"""Wanda: weights become zero by their size and that of the activations they meet."""

from __future__ import annotations

from typing import ClassVar, Literal

from weightcut.compression.sparse import Calibrated


class Wanda(Calibrated):
    """Set the weights of least magnitude times input norm in each row of a linear layer to zero.

    The norm of each input is measured on calibration text, layer after layer, each on what the
    pruned layers before it give. No weight is changed that stays. With a pattern, two of every
    four neighbouring inputs' weights stay (2:4) or four of eight (4:8). The head stays whole. The
    result is stored dense: zeros bring neither size nor speed on the engines here. Source:
    arXiv:2306.11695.
    """

    paper: ClassVar[str] = "arXiv:2306.11695"
    modifier: ClassVar[str] = "wanda:WandaPruningModifier"
    work: ClassVar[tuple[float, float]] = (3, 2e-7)

    kind: Literal["wanda"] = "wanda"
