"""The compiled part of CodeBLEU (native/*.c): reads trees through tree_sitter, finds flows."""

from collections.abc import Callable, Sequence
from typing import final

import tree_sitter

@final
class Language:
    """What the grammar and the rules of a language say, as tables.

    rules: for each kind of node six 16-bit numbers (flags, role, marks, and the fields that the
    role reads), the last for errors. names: of the kinds. operators: sorted by first byte, the
    longest first. alternative, update: fields. budget, deepest: see `dataflow.Budget`.
    """

    def __new__(
        cls,
        rules: bytes,
        names: tuple[bytes, ...],
        keywords: tuple[bytes, ...],
        operators: tuple[bytes, ...],
        alternative: int,
        update: int,
        budget: int,
        deepest: int,
        is_compat: bool,
        bare_else: bool,
        by_position: bool,
    ) -> Language: ...

@final
class Text:
    """A text analysed once, for any number of comparisons; see `text.Text`."""

    @property
    def totals(self) -> tuple[int, ...]: ...
    def shared(self, reference: Text, clipped: bool, /) -> tuple[int, ...]: ...

def analyse(
    language: Language,
    words: str | Sequence[str],
    cursor: tree_sitter.TreeCursor | None,
    data: bytes,
    fragment: bool,
    broken: bool,
    texts: Callable[[list[int], list[int]], list[tuple[bytes, int]]] | None,
    /,
) -> Text:
    """Analyse a text: its words (or, of ASCII signs alone, itself), and its tree.

    fragment: see `tree.read`. broken: whether the tree has errors. texts: gives text and hash
    (`set_order.string_hash`) of tokens from their starts and ends; literals are then tokens too.
    """

def strip(text: str, is_python: bool, /) -> bytes:
    """Do the work of `stripping.strip_comments`; the text is of ASCII signs alone."""
