"""The order in which CPython 3.11 goes through a set of strings when PYTHONHASHSEED is 0.

`codebleu` 0.7.0 puts names through `list(set(...))`, so that some of its figures change from run
to run. Working out the order that one fixed seed gives makes them reproducible, on any version of
Python and under any seed, and still equal to what the package itself can print.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

_WORD = (1 << 64) - 1
_LINEAR_PROBES = 9


def in_set_order(names: Sequence[str]) -> tuple[str, ...]:
    """Return `tuple(set(names))` as that interpreter would order it."""
    distinct = tuple(dict.fromkeys(names))
    return distinct if len(distinct) < 2 else _table_order(distinct)


@lru_cache(maxsize=1 << 14)
def _table_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Insert into a table like that of CPython's Objects/setobject.c, and read it through."""
    table: list[str | None] = [None] * 8
    for used, name in enumerate(names, start=1):
        _insert(table, name)
        if used * 5 >= (len(table) - 1) * 3:
            size = 8
            while size <= used * (2 if used > 50_000 else 4):
                size *= 2
            kept = [name for name in table if name is not None]
            table = [None] * size
            for moved in kept:
                _insert(table, moved)
    return tuple([name for name in table if name is not None])


def _insert(table: list[str | None], name: str) -> None:
    mask = len(table) - 1
    perturb = string_hash(name)
    slot = perturb & mask
    while True:
        probes = _LINEAR_PROBES if slot + _LINEAR_PROBES <= mask else 0
        for near in range(slot, slot + probes + 1):
            if table[near] is None:
                table[near] = name
                return
        perturb >>= 5
        slot = (slot * 5 + 1 + perturb) & mask


@lru_cache(maxsize=1 << 16)
def string_hash(text: str) -> int:
    """Return CPython 3.11's hash of a string for PYTHONHASHSEED=0, as an unsigned 64-bit number.

    It is SipHash-1-3 with a key of zeros over the string's characters in the narrowest of 1, 2 or
    4 bytes that fits all of them. Source: Aumasson & Bernstein, "SipHash" (2012); PEP 456.
    """
    if not text:
        return 0
    widest = max(map(ord, text))
    encoding = "latin-1" if widest < 0x100 else "utf-16-le" if widest < 0x10000 else "utf-32-le"
    value = _siphash13(text.encode(encoding, "surrogatepass"))
    return _WORD - 1 if value == _WORD else value  # CPython keeps -1 for errors


def _siphash13(data: bytes) -> int:
    state = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        word = int.from_bytes(data[start : start + 8], "little")
        state[3] ^= word
        _round(state)
        state[0] ^= word
    word = len(data) % 256 << 56 | int.from_bytes(data[whole:], "little")
    state[3] ^= word
    _round(state)
    state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(3):
        _round(state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(v: list[int]) -> None:
    a, b, c, d = v
    a = (a + b) & _WORD
    b = _rotated(b, 13) ^ a
    a = _rotated(a, 32)
    c = (c + d) & _WORD
    d = _rotated(d, 16) ^ c
    a = (a + d) & _WORD
    d = _rotated(d, 21) ^ a
    c = (c + b) & _WORD
    b = _rotated(b, 17) ^ c
    c = _rotated(c, 32)
    v[:] = a, b, c, d


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _WORD
