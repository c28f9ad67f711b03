"""Whether an answer is the reference, text for text."""

from __future__ import annotations


def exact_match(reference: str, prediction: str) -> bool:
    """Return whether the two are equal but for white space at the ends and the ends of lines.

    White space inside a line counts: in Python it carries meaning. Two empty texts match.
    """
    return _lines(reference) == _lines(prediction)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
