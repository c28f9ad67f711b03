from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from weightcut.reports.charts import labels

_POINTS = st.lists(st.tuples(st.floats(0, 480), st.floats(0, 340)), max_size=25, unique=True)


@given(_POINTS)
def test_no_name_covers_another_or_a_point_or_leaves_the_frame(
    points: list[tuple[float, float]],
) -> None:
    anchors = [labels.Anchor(x, y, f"variant-{i}", i) for i, (x, y) in enumerate(points)]
    placed = labels.place(anchors, 480, 340)
    boxes = [
        labels.box(anchor, label.text, label.dx, label.dy, label.align)
        for anchor, label in zip(anchors, placed, strict=True)
        if label.shown
    ]
    assert not any(one.meets(two) for one, two in combinations(boxes, 2))
    for box in boxes:
        assert 0 <= box.left <= box.right <= 480
        assert 0 <= box.top <= box.bottom <= 340
        assert not any(box.left < x < box.right and box.top < y < box.bottom for x, y in points)


def test_the_first_rank_is_served_first() -> None:
    crowd = [labels.Anchor(100 + i, 100, f"a-long-enough-name-{i}", rank=1) for i in range(30)]
    chosen = labels.Anchor(115, 100, "recommended", rank=0)
    placed = labels.place([*crowd, chosen], 480, 340)
    assert placed[-1].shown
    assert not all(label.shown for label in placed)


def test_lines_are_avoided_where_there_is_room_and_crossed_where_not() -> None:
    anchor = labels.Anchor(200, 100, "name", 0)
    right = labels.Box(205, 80, 400, 120)
    assert labels.place([anchor], 480, 340, [right])[0].align == "right"
    everywhere = labels.Box(0, 0, 480, 340)
    assert labels.place([anchor], 480, 340, [everywhere])[0].shown


@given(st.lists(st.floats(0, 340), max_size=20))
def test_spread_keeps_the_order_the_gap_and_the_range(wanted: list[float]) -> None:
    found = labels.spread(wanted, 14, 6, 334)
    in_order = [y for _, y in sorted(zip(wanted, found, strict=True))]
    assert in_order == sorted(found)
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(in_order))
    assert all(6 <= y <= 334 + 1e-9 for y in found)
