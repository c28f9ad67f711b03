"""SparseGPT: weights become zero, and those that stay mend the error."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.sparse import Calibrated


class SparseGPT(Calibrated):
    """Set weights of every linear layer but the head to zero and adjust the others in their row.

    Column by column those go that change the layer's outputs on calibration text least, and the
    error is spread over the columns to come by the inverse Hessian of the layer's inputs, each
    layer on what the pruned layers before it give. With a pattern, two of every four neighbouring
    inputs' weights stay (2:4) or four of eight (4:8). The result is stored dense: zeros bring
    neither size nor speed on the engines here. Source: arXiv:2301.00774.
    """

    paper: ClassVar[str] = "arXiv:2301.00774"
    modifier: ClassVar[str] = "sparsegpt:SparseGPTModifier"
    work: ClassVar[tuple[float, float]] = (5, 3e-7)

    kind: Literal["sparsegpt"] = "sparsegpt"
    dampening: float = Field(
        0.01, gt=0, lt=1, description="added to the Hessian's diagonal, as a share of its mean"
    )

    def more(self) -> dict[str, Any]:
        """Return the dampening, under the modifier's name for it."""
        return {"dampening_frac": self.dampening}
