from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from weightcut.engines.batching import of_like_length


@given(st.lists(st.integers(1, 10_000)))
def test_batches_hold_all_and_none_far_shorter_than_the_longest(lengths: list[int]) -> None:
    batches = of_like_length(lengths, int)
    assert [n for batch in batches for n in batch] == sorted(lengths, reverse=True)
    assert all(4 * batch[-1] > batch[0] for batch in batches)
    longest = [batch[0] for batch in batches]
    assert all(4 * later <= first for first, later in pairwise(longest))
