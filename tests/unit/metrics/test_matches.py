from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.errors import UsageError
from weightcut.metrics.bleu import bleu, sentence_bleu
from weightcut.metrics.exact_match import exact_match
from weightcut.metrics.flips import flips

tokens = st.lists(st.sampled_from(["if", "x", "==", "1", ":", "return"]), min_size=1, max_size=20)


@given(tokens)
def test_a_text_has_the_whole_bleu_against_itself(words: list[str]) -> None:
    text = " ".join(words)
    assert sentence_bleu(text, text) == pytest.approx(100)


@given(tokens, tokens)
def test_bleu_is_between_0_and_100(one: list[str], other: list[str]) -> None:
    assert 0 <= bleu([" ".join(one)], [" ".join(other)]) <= 100 + 1e-9


def test_bleu_is_the_formula_of_the_paper() -> None:
    reference, prediction = "a b c d e f", "a b c d e g"
    # 5/6, 4/5, 3/4 and 2/3 of the n-grams match; equal lengths, so no penalty.
    expected = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert bleu([reference], [prediction]) == pytest.approx(expected)


def test_bleu_takes_code_as_it_is() -> None:
    assert bleu(["a( b ) ; ' \" &lt; x_1"], ["a( b ) ; ' \" &lt; x_1"]) == pytest.approx(100)
    assert sentence_bleu("a", "") == 0


def test_bleu_refuses_unequal_numbers() -> None:
    with pytest.raises(UsageError, match="2 references but 1 predictions"):
        bleu(["a", "b"], ["a"])
    with pytest.raises(UsageError, match="at least one"):
        bleu([], [])


@pytest.mark.parametrize(
    ("reference", "prediction", "same"),
    [
        ("x = 1\n", "x = 1", True),
        ("x = 1  \r\ny = 2", "x = 1\ny = 2\n\n", True),
        ("if a:\n    b", "if a:\n  b", False),
        ("x = 1", "x  = 1", False),
        ("", " \n", True),
        ("x", "", False),
    ],
)
def test_exact_match(reference: str, prediction: str, same: bool) -> None:
    assert exact_match(reference, prediction) is same


def test_flips_name_the_samples() -> None:
    found = flips({"a": True, "b": False, "c": True}, {"a": False, "b": True, "c": True})
    assert (found.lost, found.gained, found.unchanged) == (("a",), ("b",), 1)


def test_flips_refuse_unlike_samples() -> None:
    with pytest.raises(UsageError, match=r"1 samples are in only one .* 'b'"):
        flips({"a": True, "b": False}, {"a": True})
