from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.records.results import Interval
from weightcut.reports import text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.26912, "0.269"),
        (1830.4, "1,830"),
        (12.26, "12.3"),
        (0, "0"),
        (-0.5, "-0.500"),
        (3.2e-7, "3.20e-07"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_number(value: float | None, words: str) -> None:
    assert text.number(value) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1.00 MB"), (135e6, "135 MB"), (1.45e9, "1.45 GB")],
)
def test_size_in_decimal_units(count: float, words: str) -> None:
    assert text.size(count) == words


def test_a_block_keeps_its_lines_and_its_indents() -> None:
    assert text.block("\tif x:\r\n a\tb\u202ec\n") == "    if x:\n a  b\N{REPLACEMENT CHARACTER}c"


def test_milliseconds_become_seconds() -> None:
    assert text.milliseconds(8.714) == "8.71 ms"
    assert text.milliseconds(1250) == "1.25 s"


def test_interval_without_ends_is_the_value_alone() -> None:
    assert text.interval(Interval(value=0.5, low=0.4, high=0.6)) == "0.500 [0.400, 0.600]"
    assert text.interval(Interval(value=0.5)) == "0.500"
    assert text.interval(Interval(value=None)) == text.interval(None) == "–"
    assert text.interval(Interval(value=0.0082, low=0.0073, high=0.0091)) == (
        "0.0082 [0.0073, 0.0091]"
    )


def test_plain_shows_controls() -> None:
    assert text.plain("a\x1b[31m\nb\tc") == "a\ufffd[31m b c"


@given(st.text(), st.integers(1, 40))
def test_shorten_fits(value: str, columns: int) -> None:
    short = text.shorten(value, columns)
    assert text.columns_wide(short) <= max(columns, 1)
    assert short == value or short.endswith("…")


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none() | st.integers())
def test_figures_are_never_an_error(value: float | None) -> None:
    for write in (text.number, text.score, text.size, text.times, text.milliseconds):
        words = write(value)
        assert words
        assert "nan" not in words
        assert "inf" not in words
