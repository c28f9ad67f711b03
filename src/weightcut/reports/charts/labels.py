"""Placing names beside points so that none covers a point, a line or another name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from weightcut.reports.text import columns_wide, shorten

FONT_PX = 11
_LETTER_PX = 6.4
_HALF_HEIGHT_PX = 7.0
_POINT_PX = 6.5
_NAME_COLUMNS = 26

Align = Literal["left", "center", "right"]


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Return whether the two share an area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Anchor(NamedTuple):
    """A point that wants its name beside it; the smaller the rank, the earlier it is served."""

    x: float
    y: float
    name: str
    rank: float


class Label(NamedTuple):
    """Where a name stands: its offset from the point in pixels, and the side that it grows to."""

    text: str
    dx: float
    dy: float
    align: Align
    shown: bool


_REACHES: tuple[tuple[float, float], ...] = ((10, 0), (8, 11), (10, 18))
_OFFSETS: tuple[tuple[float, float, Align], ...] = (
    (0, -15, "center"),
    *(
        offset
        for reach, rise in _REACHES
        for offset in (
            (reach, -rise, "left"),
            (-reach, -rise, "right"),
            (reach, rise, "left"),
            (-reach, rise, "right"),
        )
    ),
    (0, 15, "center"),
)


def place(
    anchors: Sequence[Anchor], width: float, height: float, lines: Sequence[Box] = ()
) -> list[Label]:
    """Return a label for each anchor, in order; one that finds no free place is not shown.

    lines: thin boxes (error bars, a frontier) that names stay clear of where they can. A label
    that is not shown keeps the first offset, for when a reader points at it.
    """
    points = [
        Box(a.x - _POINT_PX, a.y - _POINT_PX, a.x + _POINT_PX, a.y + _POINT_PX) for a in anchors
    ]
    frame = Box(0, 0, width, height)
    taken: list[Box] = []
    labels: dict[int, Label] = {}
    for index in sorted(range(len(anchors)), key=lambda i: (anchors[i].rank, i)):
        anchor = anchors[index]
        text = shorten(anchor.name, _NAME_COLUMNS)
        dx, dy, align = _OFFSETS[0]
        labels[index] = Label(text, dx, dy, align, shown=False)
        near = [box for box in points if abs(box.left - anchor.x) < 300]
        for obstacles in ([*near, *taken, *lines], [*near, *taken]):
            found = _free(anchor, text, obstacles, frame)
            if found is not None:
                dx, dy, align = found
                taken.append(box(anchor, text, dx, dy, align))
                labels[index] = Label(text, dx, dy, align, shown=True)
                break
    return [labels[index] for index in range(len(anchors))]


def _free(
    anchor: Anchor, text: str, obstacles: Sequence[Box], frame: Box
) -> tuple[float, float, Align] | None:
    for dx, dy, align in _OFFSETS:
        own = box(anchor, text, dx, dy, align)
        inside = (
            own.left >= frame.left
            and own.top >= frame.top
            and own.right <= frame.right
            and own.bottom <= frame.bottom
        )
        if inside and not any(own.meets(other) for other in obstacles):
            return dx, dy, align
    return None


def box(anchor: Anchor, text: str, dx: float, dy: float, align: Align) -> Box:
    """Return the place that a label takes."""
    wide = columns_wide(text) * _LETTER_PX
    left = anchor.x + dx - {"left": 0.0, "center": wide / 2, "right": wide}[align]
    middle = anchor.y + dy
    return Box(left, middle - _HALF_HEIGHT_PX, left + wide, middle + _HALF_HEIGHT_PX)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions in the same order, near those wanted, at least `gap` apart.

    low, high: the range to stay in; it must be wide enough for all of them.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed: list[float] = []
    for rank, index in enumerate(order):
        floor = placed[-1] + gap if placed else low
        placed.append(max(floor, min(wanted[index], high - gap * (len(order) - 1 - rank))))
    result = [0.0] * len(wanted)
    for index, position in zip(order, placed, strict=True):
        result[index] = position
    return result
