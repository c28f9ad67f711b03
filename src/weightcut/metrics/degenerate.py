"""Answers that end in a loop."""

from __future__ import annotations

from collections.abc import Sequence

MIN_LENGTH = 24
MIN_ROUNDS = 4


def repetition(token_ids: Sequence[int]) -> bool:
    """Return whether the tokens end in a loop: one block, repeated to the very end.

    A loop is a block of p tokens that stands at the end at least `MIN_ROUNDS` times in a row, the
    last round possibly cut short, and covers at least `MIN_LENGTH` tokens in all. That is: some
    p >= 1 such that token[i] == token[i - p] for the last m tokens, with p + m >= MIN_ROUNDS * p
    and p + m >= MIN_LENGTH. Nearly equal rounds (a counter that goes up) are not a loop by this
    definition; the token limit catches them. Linear time.
    """
    backwards = list(reversed(token_ids))
    # In the reversed sequence a loop at the end is a periodic prefix, and the Z function gives for
    # each period p how long the prefix keeps it.
    run = _z(backwards)
    for period in range(1, len(backwards) // MIN_ROUNDS + 1):
        length = period + run[period]
        if length >= MIN_ROUNDS * period and length >= MIN_LENGTH:
            return True
    return False


def _z(items: list[int]) -> list[int]:
    """Return for each i the length of the longest common prefix of items and items[i:]."""
    n = len(items)
    z = [0] * n
    left = right = 0
    for i in range(1, n):
        k = min(right - i, z[i - left]) if i < right else 0
        while i + k < n and items[k] == items[i + k]:
            k += 1
        z[i] = k
        if i + k > right:
            left, right = i, i + k
    return z
