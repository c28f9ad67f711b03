from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weightcut.metrics.degenerate import MIN_LENGTH, MIN_ROUNDS, repetition


def words(text: str) -> list[int]:
    known: dict[str, int] = {}
    return [known.setdefault(word, len(known)) for word in text.split()]


ANSWER = """def has_close_elements ( numbers , threshold ) : for i in range ( len ( numbers ) ) :
for j in range ( i + 1 , len ( numbers ) ) : if abs ( numbers [ i ] - numbers [ j ] ) < threshold :
return True return False"""


def test_a_good_answer_does_not_end_in_a_loop() -> None:
    assert not repetition(words(ANSWER))


def test_a_line_again_and_again_is_a_loop() -> None:
    assert repetition(words(ANSWER + " assert candidate ( [ 1 ] ) == 2" * 8))


def test_the_last_round_may_be_cut_short() -> None:
    assert repetition(words(ANSWER + " This is a good test ." * 7 + " This is a"))


def test_one_token_for_ever_is_a_loop() -> None:
    assert repetition(words(ANSWER) + [9999] * MIN_LENGTH)


def test_a_loop_that_ended_is_none() -> None:
    assert not repetition(words(" x = x + 1" * 30 + " " + ANSWER))


def test_a_table_of_zeros_and_a_few_equal_lines_are_none() -> None:
    assert not repetition(words("return [ 0 , 0 , 0 , 0 , 0 ]"))
    assert not repetition(words(ANSWER + " print ( a )" * (MIN_ROUNDS - 1)))


def test_nothing_is_no_loop() -> None:
    assert not repetition([])


@given(
    st.lists(st.integers(0, 9), max_size=40),
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.integers(0, 30),
)
def test_agrees_with_the_definition(start: list[int], block: list[int], rounds: int) -> None:
    tokens = start + block * rounds
    n = len(tokens)
    expected = any(
        size >= MIN_ROUNDS * period
        and size >= MIN_LENGTH
        and all(tokens[i] == tokens[i - period] for i in range(n - size + period, n))
        for size in range(1, n + 1)
        for period in range(1, size)
    )
    assert repetition(tokens) == expected
