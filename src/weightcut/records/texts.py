"""Where the text that a model is trained on comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weightcut.records.base import Record


class TextSource(Record):
    """A text of the user's own, or a data set of the hub.

    A table (JSON lines, parquet) has a column of texts, or two columns with an instruction and its
    answer; then the chat template frames them and the loss counts the answers alone.
    """

    reference: str = Field(description="file, folder or hub:org/name@COMMIT")
    text: str = Field("", description="column with the texts")
    instruction: str = Field("", description="column with what is asked")
    answer: str = Field("", description="column with what is to be answered")
    overlap: Literal["refuse", "leave-out"] = Field(
        "refuse", description="what becomes of texts that share a passage with an evaluation text"
    )
