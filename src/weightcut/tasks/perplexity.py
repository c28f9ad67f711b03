"""How well a model predicts held-out code, and how far it moved from the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.data.corpus import documents
from weightcut.records import Record


class Perplexity(Record):
    """Perplexity, bits per byte, KL and top-1 agreement on the standard library's own source.

    Windows of `length` tokens from modules that no calibration or training text comes from; each
    window is predicted on its own, its first token unscored.
    """

    mode: ClassVar[Literal["likelihood"]] = "likelihood"

    kind: Literal["perplexity"] = "perplexity"
    limit: int = Field(16, ge=1, description="windows of text")
    length: int = Field(512, ge=8, description="tokens in a window")
    top_k: int = Field(
        1024, ge=1, description="entries of the baseline's distribution kept for each position"
    )

    def texts(self) -> Sequence[str]:
        """Return the held-out documents."""
        return [document.text for document in documents("evaluation")]
