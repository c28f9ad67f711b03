"""How well a model predicts held-out text, and how far it moved from the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.data.corpus import Document, documents, source
from weightcut.data.folder import Texts, read_texts
from weightcut.records import Record

NAMED = 20  # skipped files that are named one by one


class Perplexity(Record):
    """Perplexity, bits per byte, KL, top-1 agreement and flips on held-out text.

    The text is the standard library's own source (modules that no calibration or training text
    comes from), or a folder's: `texts`. Files of the folder that are also calibration or training
    texts are left out, by digest of their content; so are those that are no UTF-8 text. The notes
    of the results name every one.

    Windows of `length` tokens, spread evenly over the text; each is predicted on its own, its
    first token unscored.
    """

    mode: ClassVar[Literal["likelihood"]] = "likelihood"

    kind: Literal["perplexity"] = "perplexity"
    limit: int = Field(16, ge=1, description="windows of text")
    length: int = Field(512, ge=8, description="tokens in a window")
    top_k: int = Field(
        1024, ge=1, description="entries of the baseline's distribution kept for each position"
    )
    texts: str = Field(
        "", description="a text file or folder of texts; empty: the standard library's source"
    )
    files: str = Field("*", description="names of the folder's files that count, such as *.py")

    def documents(self) -> Sequence[str]:
        """Return the held-out documents."""
        if not self.texts:
            return [document.text for document in documents("evaluation")]
        return [document.text for document in self._folder.documents]

    def notes(self) -> Sequence[str]:
        """Return what the text is, and which files are left out."""
        if not self.texts:
            return [f"perplexity: {source('evaluation')}"]
        found = self._folder
        size = sum(len(one.text.encode()) for one in found.documents)
        said = [f"perplexity: {_count(found.documents)} ({size:,} bytes) of {self.texts}"]
        said += [f"perplexity: left out: {name} {why}" for name, why in found.skipped[:NAMED]]
        if len(found.skipped) > NAMED:
            said.append(f"perplexity: left out: {len(found.skipped) - NAMED} more")
        return said

    @cached_property
    def _folder(self) -> Texts:
        return read_texts(Path(self.texts).expanduser(), self.files)


def _count(found: Sequence[Document]) -> str:
    return f"{len(found)} text" + ("s" if len(found) > 1 else "")
