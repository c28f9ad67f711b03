"""What all pages draw with: escaped texts, tables, tiles, notices and charts.

Whatever comes from a run (names, answers, errors) goes through `html.escape` here: Streamlit's own
texts are Markdown, which untrusted text must not become.
"""

from __future__ import annotations

import html
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from weightcut.errors import WeightcutError
from weightcut.reports import charts, text
from weightcut.reports.charts import Figure
from weightcut.reports.tables import Table

_WHOLE, _HALF = 880, 480  # pixels of a chart that has a line to itself, or shares it
_LONG = 40  # rows from which on a table scrolls
T = TypeVar("T", bound=Hashable)


def escape(value: object) -> str:
    """Return untrusted text as HTML: escaped, controls made visible, its direction its own."""
    return f"<bdi>{html.escape(text.plain(value))}</bdi>"


def block(value: object) -> str:
    """Return untrusted text of several lines as HTML, controls made visible."""
    return html.escape(text.block(value))


def labels(options: Iterable[T], say: Callable[[T], str]) -> Mapping[T, str]:
    """Return what each option of a list is called; names that would be alike get numbers.

    Streamlit tells options apart by these names alone: of two alike one could not be chosen.
    """
    found: dict[T, str] = {}
    taken = set[str]()
    for one in options:
        name = label = say(one)
        number = 1
        while label in taken:
            number += 1
            label = f"{name} ({number})"
        taken.add(label)
        found[one] = label
    return found


@cache
def _style() -> str:
    return resources.files("weightcut.dashboard").joinpath("dashboard.css").read_text("utf-8")


def style() -> None:
    """Put the pages' style into this page."""
    import streamlit as st

    # Streamlit sets its own theme by classes, so that a media query would not know it.
    kind = "dark" if dark() else "light"
    st.html(f"<style>{_style()}</style><span class='wc-theme-{kind}'></span>")


def dark() -> bool:
    """Return whether the reader has the dark theme."""
    import streamlit as st

    return st.context.theme.type == "dark"


def write(markup: str) -> None:
    """Put markup of our own making into the page; everything foreign in it is escaped."""
    import streamlit as st

    st.html(markup)


def heading(title: str, about: str = "") -> None:
    """Show a page's heading and what the page is for."""
    lead = f"<p class='wc-about'>{escape(about)}</p>" if about else ""
    write(f"<h1 class='wc-h1'>{escape(title)}</h1>{lead}")


def section(title: str) -> None:
    """Show the heading of a part of a page."""
    write(f"<h2 class='wc-h2'>{escape(title)}</h2>")


def say(words: str, kind: str = "") -> None:
    """Show a paragraph; kind: `lead` or `quiet`."""
    write(f"<p class='wc-p {kind}'>{escape(words)}</p>")


def notice(label: str, words: str, kind: str = "") -> None:
    """Show a line that readers must not miss; kind: `warning`, `error` or plain."""
    write(
        f"<div class='wc-notice {kind}' role='note'><b>{escape(label)}</b>"
        f"<span>{escape(words)}</span></div>"
    )


def notices(pairs: Sequence[tuple[str, str, str]], most: int = 4) -> None:
    """Show lines (label, words, kind); those beyond the first few are folded away."""
    import streamlit as st

    for pair in pairs[:most]:
        notice(*pair)
    if len(pairs) > most:
        with st.expander(f"{len(pairs) - most} more notices"):
            for pair in pairs[most:]:
                notice(*pair)


def complain(error: WeightcutError) -> None:
    """Show an error as cause, place and cure."""
    notice("Error", str(error), "error")
    if error.cure:
        notice("What to do", error.cure)


def tiles(pairs: Iterable[tuple[str, str]]) -> None:
    """Show figures side by side, each with its label."""
    cells = []
    for label, value in pairs:
        first, bracket, ends = value.partition(" [")
        rest = f"<small>{escape(bracket.strip() + ends)}</small>" if bracket else ""
        cells.append(f"<div><span>{escape(label)}</span><b>{escape(first)}{rest}</b></div>")
    write(f"<div class='wc-tiles'>{''.join(cells)}</div>")


def table(one: Table) -> None:
    """Show a report's table."""
    if one.missing or not one.rows:
        say(one.missing or "Nothing to show.", "quiet")
        return
    heads = [f"<th class='{c.align}' scope='col'>{escape(c.label)}</th>" for c in one.columns]
    rows = []
    for row in one.rows:
        cells = []
        for index, (cell, column) in enumerate(zip(row, one.columns, strict=True)):
            shown = escape(cell.text)
            if index == 0 and cell.kind == "recommended":
                shown += " <span class='wc-tag'>recommended</span>"
            tag = "th scope='row'" if index == 0 else "td"
            end = "th" if index == 0 else "td"
            cells.append(f"<{tag} class='{column.align} {html.escape(cell.kind)}'>{shown}</{end}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    _framed(heads, rows)
    if one.caption:
        say(one.caption, "caption")


def rows(
    headings: Sequence[str], lines: Sequence[Sequence[object]], right: Iterable[int] = ()
) -> None:
    """Show a table of plain texts; right: columns whose figures keep to the right."""
    sides = dict.fromkeys(right, "right")
    heads = [
        f"<th class='{sides.get(i, 'left')}' scope='col'>{escape(h)}</th>"
        for i, h in enumerate(headings)
    ]
    body = [
        "<tr>"
        + "".join(
            f"<td class='{sides.get(i, 'left')}{' word' if i not in sides else ''}'>"
            f"{escape(cell)}</td>"
            for i, cell in enumerate(line)
        )
        + "</tr>"
        for line in lines
    ]
    _framed(heads, body)


def _framed(heads: Sequence[str], body: Sequence[str]) -> None:
    long = " long" if len(body) > _LONG else ""
    write(
        f"<div class='wc-scroll{long}' tabindex='0' role='region' aria-label='table'>"
        f"<table class='wc-table'><thead><tr>{''.join(heads)}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def figure(
    key: str,
    make: Callable[[int], Figure],
    title: bool = True,
    source: tuple[object, Hashable] | None = None,
) -> None:
    """Show a chart in the size of the reader's screen; `make` draws it in a given width.

    source: the data and what else the chart depends on; while both stay, it is not drawn anew.
    """
    import streamlit as st

    whole = _HALF if key.startswith("half") else _WHOLE
    wide, spec = _drawn(key, make, whole, source)
    if title:
        write(f"<h3 class='wc-h3'>{escape(wide.title)}</h3>")
    if wide.missing:
        say(wide.missing, "quiet")
        return
    narrow, small = _drawn(key, make, charts.NARROW, source)
    for size, one, drawn in (("wide", wide, spec), ("narrow", narrow, small)):
        with st.container(key=f"wc-{size}-{key}"):
            st.vega_lite_chart(
                spec=drawn,
                width="content",
                theme=None,
                key=f"{size}-{key}-{one.key}",
                alt=one.description,
            )
    if wide.caption:
        say(wide.caption, "caption")


_Drawn = tuple[Figure, dict[str, Any]]
_KEPT: OrderedDict[Hashable, tuple[object, _Drawn]] = OrderedDict()
_MOST_KEPT = 120


def _drawn(
    key: str,
    make: Callable[[int], Figure],
    width: int,
    source: tuple[object, Hashable] | None,
) -> _Drawn:
    """Return a figure without its chart, and the chart as plain data with the reader's theme."""
    look = dark()
    if source is None:
        return _draw(make, width, look)
    place = (key, width, look, id(source[0]), source[1])
    known = _KEPT.get(place)
    # The entry holds the data, so that no other data can have got its id.
    if known is None or known[0] is not source[0]:
        known = _KEPT[place] = (source[0], _draw(make, width, look))
        while len(_KEPT) > _MOST_KEPT:
            _KEPT.popitem(last=False)
    return known[1]


def _draw(make: Callable[[int], Figure], width: int, look: bool) -> _Drawn:
    made = make(width)
    if made.chart is None:
        return made, {}
    spec = charts.themed(made.chart, dark=look) | {"autosize": {"type": "pad"}}
    return made._replace(chart=None), spec
