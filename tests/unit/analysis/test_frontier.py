from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weightcut.analysis.frontier import Point, frontier

cost = st.none() | st.integers(1, 4).map(float)


@st.composite
def points(draw: st.DrawFn) -> list[Point]:
    rows = draw(st.lists(st.tuples(cost, cost, cost, cost, st.booleans()), max_size=12))
    return [Point(str(i), *row) for i, row in enumerate(rows)]


def _dominates(a: Point, b: Point) -> bool:
    def place(p: Point) -> list[float]:
        costs = [float("inf") if c is None else c for c in (p.latency, p.memory, p.size)]
        return [-(p.quality or 0), *costs]

    pairs = list(zip(place(a), place(b), strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


@given(points())
def test_on_the_frontier_exactly_if_no_placed_variant_dominates(found: list[Point]) -> None:
    placed = [
        p
        for p in found
        if p.trusted and p.quality is not None and {p.latency, p.memory, p.size} != {None}
    ]
    expected = {p.name for p in placed if not any(_dominates(q, p) for q in placed)}
    assert frontier(found) == expected


def test_a_vetoed_variant_pushes_nobody_off() -> None:
    sound = Point("sound", 1.0, 10, 10, 10)
    broken = Point("broken", 1.2, 5, 5, 5, trusted=False)
    assert frontier([sound, broken]) == {"sound"}


def test_a_missing_reading_never_makes_a_variant_look_good() -> None:
    full = Point("full", 1.0, 10, 10, 10)
    unread = Point("unread", 1.0, None, 10, 10)
    assert frontier([full, unread]) == {"full"}
