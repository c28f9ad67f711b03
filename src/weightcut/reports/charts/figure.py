"""A chart with what a page needs around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import altair as alt

WIDE, NARROW = 540, 330  # pixels of a whole chart on a desk and on a phone


class Figure(NamedTuple):
    """A chart; it is None where `missing` says why there is none.

    description: the text for readers who do not see the chart.
    """

    key: str
    title: str
    caption: str = ""
    description: str = ""
    chart: alt.LayerChart | None = None
    missing: str = ""
