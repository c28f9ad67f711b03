"""Texts: where those that a model is trained on come from, and which are none."""

from __future__ import annotations

from typing import Any, Literal

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


def no_text(data: Any) -> str:
    """Return what of plain data's texts is no text, in words; "" where all of them are.

    JSON and Python literals can write half of a surrogate pair: no file and no tokenizer takes it.
    """
    if isinstance(data, str):
        try:
            data.encode()
        except UnicodeEncodeError as error:
            return f"half a surrogate pair (\\u{ord(data[error.start]):04x}) is no text"
        return ""
    if isinstance(data, dict):
        return no_text([*data, *data.values()])
    if isinstance(data, list | tuple):
        return next(filter(None, map(no_text, data)), "")
    return ""
