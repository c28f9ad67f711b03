"""Group sizes: the largest that divides, halved from what was asked."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from weightcut.compression.groups import group_sizes


def layers(*widths: int) -> dict[str, SimpleNamespace]:
    return {str(width): SimpleNamespace(in_features=width) for width in widths}


def test_each_layer_has_the_largest_group_that_divides() -> None:
    groups, left = group_sizes(layers(1536, 576, 96, 80, 30), 128, 16)
    assert groups == {"1536": 128, "576": 64, "96": 32, "80": 16}
    assert left == ["30"]


def test_a_size_below_the_smallest_is_tried_as_it_is() -> None:
    assert group_sizes(layers(24), 24, 32) == ({"24": 24}, [])


@given(
    st.lists(st.integers(1, 5000), max_size=20, unique=True),
    st.integers(1, 512),
    st.integers(1, 64),
)
def test_every_group_divides_and_no_layer_is_lost(
    widths: list[int], size: int, smallest: int
) -> None:
    groups, left = group_sizes(layers(*widths), size, smallest)
    assert sorted([*groups, *left]) == sorted(map(str, widths))
    assert all(int(name) % group == 0 and size % group == 0 for name, group in groups.items())
    assert all(int(name) % size for name in left)
