"""Group sizes that divide: the largest one for each layer, halved from what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def group_sizes(
    layers: Mapping[str, Any], size: int, smallest: int
) -> tuple[dict[str, int], list[str]]:
    """Return the group size of each linear layer, and the layers that no size divides.

    Tried are `size`, its half, its quarter ... down to `smallest` (or `size` alone, where that is
    smaller): the first that divides the layer's inputs.
    """
    found = {
        name: next((s for s in _halves(size, smallest) if layer.in_features % s == 0), 0)
        for name, layer in layers.items()
    }
    return {n: s for n, s in found.items() if s}, [n for n, s in found.items() if not s]


def _halves(size: int, smallest: int) -> Iterable[int]:
    yield size
    while size % 2 == 0 and size // 2 >= smallest:
        size //= 2
        yield size
