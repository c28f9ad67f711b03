"""Windows of tokens, and how many bytes they predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.families import spaced

from weightcut.data.blocks import token_blocks
from weightcut.errors import UsageError
from weightcut.models.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer


class Opening(ByteTokenizer):
    """Bytes with a begin-of-text id, whose decoder drops a leading space as sentencepiece does."""

    def __init__(self) -> None:
        super().__init__()
        self.bos_id, self.adds_bos, self.vocab_size = 257, True, 258

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return super().decode([i for i in ids if i != 257], skip_special).removeprefix(" ")


class Lossy(ByteTokenizer):
    """A tokenizer that forgets capitals."""

    def encode(self, text: str, special: bool = False) -> list[int]:
        return super().encode(text.lower(), special)


def test_windows_are_pieces_of_the_text_and_bytes_are_exact() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1000))
    blocks = token_blocks([text], ByteTokenizer(), 4, 100, source="letters")
    assert blocks.ids.shape == (4, 100)
    assert blocks.ids.dtype == blocks.text_bytes.dtype == np.int64
    assert all(bytes(row.tolist()).decode() in text for row in blocks.ids)
    assert blocks.text_bytes.tolist() == [99] * 4
    assert blocks.source == "letters"


def test_windows_are_spread_over_all_of_the_text() -> None:
    texts = [letter * 200 for letter in "abcdefgh"]
    blocks = token_blocks(texts, ByteTokenizer(), 4, 50)
    assert len({row[10] for row in blocks.ids.tolist()}) == 4


def test_a_begin_of_text_id_comes_first_and_counts_no_byte() -> None:
    blocks = token_blocks(["word " * 100], Opening(), 3, 40)
    assert blocks.ids[:, 0].tolist() == [257] * 3
    assert 257 not in blocks.ids[:, 1:]
    # All 39 bytes after it are predicted, a leading space too, though the decoder drops it.
    assert blocks.text_bytes.tolist() == [39] * 3


@settings(deadline=None)
@given(st.text(alphabet="aé漢🙂 ", min_size=30, max_size=60), st.integers(2, 12))
def test_a_cut_character_counts_where_it_ends(text: str, length: int) -> None:
    whole = (text + "\n\n\n").encode()
    windows = len(whole) // length
    blocks = token_blocks([text], ByteTokenizer(), windows, length)
    # Ends of characters, as positions in bytes.
    ends, at = set(), 0
    for character in whole.decode():
        at += len(character.encode())
        ends.add(at)
    for index, size in enumerate(blocks.text_bytes.tolist()):
        first, last = index * length + 1, (index + 1) * length
        whole_before = max((end for end in ends if end <= first), default=0)
        whole_after = max((end for end in ends if end <= last), default=0)
        assert size == whole_after - whole_before


@pytest.mark.parametrize(
    ("texts", "blocks", "length", "cause"),
    [
        (["short"], 1, 100, "holds 0 windows of 100 tokens, 1 are asked"),
        (["x" * 100], 3, 50, "holds 2 windows of 50 tokens, 3 are asked"),
        ([], 1, 8, "holds 0 windows"),
        (["x" * 100, "\ud800"], 1, 8, "half a surrogate pair"),
        (["x" * 100], 0, 8, "cannot be cut"),
        (["x" * 100], 1, 1, "cannot be cut"),
    ],
)
def test_too_little_text_is_said_in_numbers(
    texts: list[str], blocks: int, length: int, cause: str
) -> None:
    with pytest.raises(UsageError, match=cause):
        token_blocks(texts, ByteTokenizer(), blocks, length)


def test_a_tokenizer_that_changes_the_text_is_refused() -> None:
    with pytest.raises(UsageError, match="does not give back"):
        token_blocks(["ABC" * 50], Lossy(), 1, 20)


def _spaced(folder: Path) -> Tokenizer:
    spaced().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<bos>"}')
    return load_tokenizer(folder)


def test_texts_stay_one_where_each_would_get_a_space_of_its_own(tmp_path: Path) -> None:
    tokenizer = _spaced(tmp_path)
    texts = [f"def f{i}():\n    return {i}\n" for i in range(40)]
    whole = "".join(text + "\n\n" for text in texts)
    blocks = token_blocks(texts, tokenizer, 20, 16)
    assert blocks.ids[:, 0].tolist() == [tokenizer.bos_id] * 20
    said = [tokenizer.decode([*tokenizer.encode("x"), *row[1:]])[1:] for row in blocks.ids.tolist()]
    assert sum("\n\n\ndef" in text for text in said) > 2, "some windows go over an end"
    assert all(text in whole for text in (said[0].removeprefix(" "), *said[1:]))


def test_all_bytes_are_counted_once_where_characters_are_bytes(tmp_path: Path) -> None:
    tokenizer = _spaced(tmp_path)
    texts = ["é漢\n🙂 x = 'é漢é漢🙂'\n"] * 30
    ids = tokenizer.encode("".join(text + "\n\n" for text in texts))
    for length in (3, 5, 8):
        body = length - 1
        windows = len(ids) // body
        blocks = token_blocks(texts, tokenizer, windows, length)
        covered = tokenizer.decode(ids[: windows * body]).rstrip("\N{REPLACEMENT CHARACTER}")
        assert abs(blocks.text_bytes.sum() - len(covered.encode())) <= 12
