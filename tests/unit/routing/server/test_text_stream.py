from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from weightcut.models.tokenizer import ByteTokenizer
from weightcut.routing.server.upstreams.text_stream import TextStream

decode = ByteTokenizer().decode


def pieces(text: str, sizes: list[int], stops: tuple[str, ...]) -> list[str]:
    ids = list(text.encode())
    stream = TextStream(decode, stops)
    found, at = [], 0
    for size in sizes:
        found.append(stream.add(ids[at : at + size]))
        at += size
    return [*found, stream.add(ids[at:]), stream.finish()]


@given(
    st.text(), st.lists(st.integers(0, 5)), st.lists(st.text(min_size=1, max_size=4), max_size=3)
)
def test_gives_the_text_up_to_the_first_stop(text: str, sizes: list[int], stops: list[str]) -> None:
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert "".join(pieces(text, sizes, tuple(stops))) == text[: min(cuts, default=len(text))]


def test_no_half_characters() -> None:
    assert pieces("é€😀", [1] * 8, ()) == ["", "é", "", "", "€", "", "", "", "😀", ""]


def test_what_may_begin_a_stop_text_is_kept_back() -> None:
    assert pieces("a\n\nb", [1, 1, 1], ("\n\n",)) == ["a", "", "", "", ""]
    assert pieces("a\nb", [1, 1, 1], ("\n\n",)) == ["a", "", "\nb", "", ""]


def test_broken_bytes_are_given_at_the_end() -> None:
    stream = TextStream(decode)
    assert stream.add([0xE2, 0x82]) == ""
    assert stream.finish() == "\ufffd"
