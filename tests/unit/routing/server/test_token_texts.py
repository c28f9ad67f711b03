from __future__ import annotations

from functools import partial
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given
from tests.families import spaced

from weightcut.models.tokenizer import ByteTokenizer, load_tokenizer
from weightcut.routing.server.calls import TokenLogprob
from weightcut.routing.server.upstreams.text_stream import TextStream
from weightcut.routing.server.upstreams.token_texts import TokenTexts

BYTES = ByteTokenizer()


def given_out(
    text: str, sizes: list[int], stops: tuple[str, ...]
) -> list[tuple[str, tuple[TokenLogprob, ...]]]:
    """Return the pieces of a text whose tokens are its bytes, and the tokens beside each."""
    ids = list(text.encode())
    stream, shown = TextStream(BYTES.decode, stops), TokenTexts(BYTES.token_bytes, BYTES.decode)
    found = []
    for size in [*sizes, len(ids)]:
        step, ids = ids[:size], ids[size:]
        last = not ids
        piece = stream.add(step) + (stream.finish() if last else "")
        shown.add([(token, -0.5) for token in step])
        found.append((piece, shown.given(piece, last=last, stopped=stream.stopped)))
        if last or stream.stopped:
            break
    return found


@given(
    st.text("ab\u00e9\u2713\U0001f600"),
    st.lists(st.integers(1, 4), max_size=12),
    st.lists(st.text("ab\u00e9", min_size=1, max_size=3), max_size=2),
)
def test_every_piece_has_the_tokens_of_its_text(
    text: str, sizes: list[int], stops: list[str]
) -> None:
    for piece, tokens in given_out(text, sizes, tuple(stops)):
        assert b"".join(token.raw for token in tokens) == piece.encode()


def test_parts_of_characters_have_their_bytes_and_no_replacement() -> None:
    ((_, tokens),) = given_out("\u00e9!", [], ())
    assert [(token.text, token.data) for token in tokens] == [
        ("\\xc3", b"\xc3"),
        ("\\xa9", b"\xa9"),
        ("!", b"!"),
    ]
    assert [token.partial for token in tokens] == [True, True, False]


def test_a_token_that_holds_a_stop_text_stays_where_some_of_it_is_text() -> None:
    shown = TokenTexts(lambda token: (b"a\n", b"b")[token], lambda ids: "a\nb"[: 2 * len(ids)])
    shown.add([(0, -1.0), (1, -2.0)])
    assert [token.text for token in shown.given("a", last=True, stopped=True)] == ["a\n"]


def test_an_answer_that_ends_within_a_character_has_all_its_tokens() -> None:
    stream, shown = TextStream(BYTES.decode), TokenTexts(BYTES.token_bytes, BYTES.decode)
    ids = list("\U0001f600".encode())[:3]
    shown.add([(token, None) for token in ids])
    piece = stream.add(ids) + stream.finish()
    assert piece == "\ufffd"
    assert b"".join(t.raw for t in shown.given(piece, last=True, stopped=False)) == bytes(ids)


def test_spaces_are_those_of_the_text(tmp_path: Path) -> None:
    """A tokenizer whose tokens begin with a space that its decoder drops from a text's first."""
    spaced().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    ids = tokenizer.encode("x = \u2713 return")
    for before, said in (
        (tokenizer.encode("<|im_end|>"), "x = \u2713 return"),
        (tokenizer.encode("def\n"), " x = \u2713 return"),
    ):
        decode = partial(tokenizer.decode_after, before)
        stream, shown = TextStream(decode), TokenTexts(tokenizer.token_bytes, decode)
        shown.add([(token, -1.0) for token in ids])
        piece = stream.add(ids) + stream.finish()
        tokens = shown.given(piece, last=True, stopped=False)
        assert piece == said
        assert b"".join(token.raw for token in tokens).decode() == said
        assert len(tokens) == len(ids)
