"""Figures as text: one way of writing every quantity, the same in every report."""

from __future__ import annotations

import math
import unicodedata

from weightcut.analysis import names
from weightcut.records.results import Interval, Verdict

MISSING = "–"
TAB = 4
"""Columns of a tab in code that is shown."""
SYMBOLS: dict[Verdict, str] = {
    "baseline": "■",
    "retained": "●",
    "undecided": "◆",
    "lost": "▼",
    "unmeasured": "✚",
}
_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def plain(text: object) -> str:
    """Return untrusted text on one line, controls and overrides of direction made visible."""
    return "".join(map(_visible, str(text).replace("\r\n", " ")))


def block(text: object) -> str:
    """Return untrusted text of several lines, each as `plain` writes it but with its indents."""
    return "\n".join(plain(line.expandtabs(TAB)) for line in str(text).splitlines())


def _visible(letter: str) -> str:
    if letter in "\n\t\u2028\u2029":
        return " "
    hidden = unicodedata.category(letter) in ("Cc", "Cs") or letter in _OVERRIDES
    return "\N{REPLACEMENT CHARACTER}" if hidden else letter


def finite(value: object) -> float | None:
    """Return the value as a float, or None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant ones, thousands apart: `0.269`, `12.3`, `1,830`."""
    known = finite(value)
    if known is None:
        return MISSING
    if known == 0:
        return "0"
    # Of the rounded number: 0.9996 is 1.00 and not 1.000.
    magnitude = int(f"{known:.{digits - 1}e}".partition("e")[2])
    if magnitude < -4 or magnitude > 9:
        return f"{known:.{digits - 1}e}"
    return f"{known:,.{max(0, digits - 1 - magnitude)}f}"


def score(value: float | None) -> str:
    """Return a score: three decimals, more where it is very small, fewer where it is large."""
    known = finite(value)
    if known is None:
        return MISSING
    if known != 0 and abs(known) < 0.01:
        return number(known, 2)
    return f"{known:.3f}" if abs(known) < 10 else number(known, 4)


def interval(value: Interval | None) -> str:
    """Return a value with its confidence interval: `0.269 [0.241, 0.297]`."""
    if value is None or finite(value.value) is None:
        return MISSING
    if finite(value.low) is None or finite(value.high) is None:
        return score(value.value)
    return f"{score(value.value)} [{score(value.low)}, {score(value.high)}]"


def interval_of_shares(value: Interval | None) -> str:
    """Return a retention in per cent with its interval: `98.7% [94.1%, 103%]`."""
    if value is None or finite(value.value) is None:
        return MISSING
    words = [
        f"{number(100 * end, 3)}%"
        for end in (value.value, value.low, value.high)
        if end is not None
    ]
    return words[0] if len(words) < 3 else f"{words[0]} [{words[1]}, {words[2]}]"


def probability(value: float | None) -> str:
    """Return a p-value with two significant digits, very small ones as a bound."""
    known = finite(value)
    if known is None:
        return MISSING
    return "< 0.0001" if known < 1e-4 else f"{known:.2g}"


def times(value: float | None) -> str:
    """Return a ratio as a factor: `2.41×`."""
    known = finite(value)
    return MISSING if known is None else f"{number(known, 3)}×"


def size(count: float | None) -> str:
    """Return bytes in decimal units: `135 MB`."""
    known = finite(count)
    if known is None:
        return MISSING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(known) < 999.5:
            return f"{number(known)} {unit}"
        known /= 1000
    return f"{number(known)} TB"


def milliseconds(value: float | None) -> str:
    """Return a time given in milliseconds: `8.71 ms`, `1.25 s`."""
    known = finite(value)
    if known is None:
        return MISSING
    return f"{number(known)} ms" if abs(known) < 999.5 else f"{number(known / 1000)} s"


def share(value: float | None) -> str:
    """Return a share in per cent: `3.2%`."""
    known = finite(value)
    return MISSING if known is None else f"{number(100 * known, 2)}%"


def joules(value: float | None) -> str:
    """Return an energy given in joules: `8.71 J`, `1.25 kJ`."""
    known = finite(value)
    if known is None:
        return MISSING
    return f"{number(known)} J" if abs(known) < 999.5 else f"{number(known / 1000)} kJ"


def hours(value: float | None) -> str:
    """Return a time given in hours: `42.0 s`, `3.50 min`, `1.25 h`."""
    known = finite(value)
    if known is None:
        return MISSING
    for factor, unit in ((3600, "s"), (60, "min")):
        if known * factor < 59.95:
            return f"{number(known * factor)} {unit}"
    return f"{number(known)} h"


def yes(value: bool) -> str:
    """Return a truth as a word."""
    return "yes" if value else "no"


def verdict(value: Verdict) -> str:
    """Return a verdict with the symbol that the charts draw it with."""
    return f"{SYMBOLS[value]} {value}"


def metric_name(metric: str) -> str:
    """Return a metric's name as a column heading."""
    return "perplexity" if metric == "value" else plain(names.metric_name(metric))


def columns_wide(text: str) -> int:
    """Return how many terminal columns or Latin letters wide the text is, about."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    marks = sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)
    return len(text) + wide - marks


def shorten(text: str, columns: int) -> str:
    """Return the text cut to so many columns, an ellipsis at its end."""
    if columns_wide(text) <= columns:
        return text
    while text and columns_wide(text) > columns - 1:
        text = text[:-1]
    return text + "…"
