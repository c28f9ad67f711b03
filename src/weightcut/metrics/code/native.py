"""The compiled way to analyse a text, used where it is there; `text.py` is the other.

It is built by `pip install` where there is a C compiler, and left out where there is none. Both
ways give the same counts; tests/unit/metrics/test_native.py holds them to it. What the rules of a
language are is said in Python alone (`flows.RULES`, `compat.RULES`): here they become tables.
"""

from __future__ import annotations

import os
import struct
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

from weightcut.metrics.code import compat, flows
from weightcut.metrics.code import text as pure
from weightcut.metrics.code.dataflow import BUDGET, DEEPEST
from weightcut.metrics.code.languages import KEYWORDS, Grammar, encode, grammar, parse
from weightcut.metrics.code.ngrams import OPERATORS, lexemes
from weightcut.metrics.code.set_order import string_hash
from weightcut.metrics.code.stripping import strip_comments

if TYPE_CHECKING:
    from weightcut.metrics.code import _native

SWITCH = "WEIGHTCUT_PURE_PYTHON"  # set to anything, this environment variable turns it off
_SAMPLE = "for x in y:\n    z = x + 1\n"
_Roles = dict[str, tuple[str, tuple[str, ...]]]  # role of a kind, and the fields it reads
_NO_FIELD, _AFTER_EQUALS = 0xFFFF, 0xFFFE

# The roles and marks of native.h.
_ROLES = ("", "define", "assign", "branch", "each", "again", "update", "counted", "assign_each")
_MARK_NAMES = """
    first list sign comma equals step unary elif else if_or_else clause block again_after for_in
    identifier"""
_MARKS = {name: 1 << number for number, name in enumerate(_MARK_NAMES.split())}
_MARKED = {
    "sign": (",", "(", ")", "[", "]"),
    "comma": (",",),
    "equals": ("=",),
    "step": ("++", "--"),
    "elif": ("elif_clause",),
    "if_or_else": ("if_statement", "else"),
    "clause": ("elif_clause", "else_clause"),
    "block": ("block",),
    "for_in": ("for_in_clause",),
    "identifier": ("identifier",),
}


@cache
def missing() -> str | None:
    """Return why the compiled part is not in use; None where it is."""
    if os.environ.get(SWITCH):
        return f"turned off by {SWITCH}"
    try:
        from weightcut.metrics.code import _native  # noqa: F401
    except ImportError as error:
        return f"not built (it takes a C compiler when weightcut is installed): {error}"
    except (AttributeError, TypeError) as error:
        return f"does not fit this version of tree-sitter: {error}"
    # The extension calls tree-sitter's methods in the way they are called by today's version.
    expected = pure.analyse(_SAMPLE, "python", "fixed").totals
    try:
        found = analyse(_SAMPLE, "python", "fixed").totals
    except TypeError as error:
        return f"does not fit this version of tree-sitter: {error}"
    return None if found == expected else "does not fit this version of tree-sitter"


def analyse(text: str, lang: str, mode: Literal["compat", "fixed"]) -> _native.Text:
    """Analyse a text; only where nothing is `missing`."""
    from weightcut.metrics.code import _native

    rules = _language(lang, mode)
    texts = None
    if mode == "compat":
        if text.isascii():
            data = _native.strip(text, lang == "python")
        else:
            stripped = strip_comments(text, lang)
            data = encode(stripped)
            texts = None if stripped.isascii() else partial(_texts, stripped)
        root, fragment = parse(data, lang), False
    elif text.strip():
        root, data, fragment = flows.best_parse(encode(text), lang)
    else:
        return _native.analyse(rules, [], None, b"", False, False, None)
    if text.isascii():
        words: str | list[str] = text
    else:
        words = text.split() if mode == "compat" else lexemes(text)
    return _native.analyse(rules, words, root.walk(), data, fragment, root.has_error, texts)


def _texts(text: str, starts: list[int], ends: list[int]) -> list[tuple[bytes, int]]:
    names = compat.names(text, starts, ends)
    return [(name.encode("utf-8", "surrogatepass"), string_hash(name)) for name in names]


@cache
def _language(lang: str, mode: Literal["compat", "fixed"]) -> _native.Language:
    from weightcut.metrics.code import _native

    known = grammar(lang)
    flags = (compat if mode == "compat" else flows).reader_of(lang).flags
    roles = _compat_roles(lang) if mode == "compat" else _fixed_roles(lang)
    marks = _marks(lang, mode)
    # Errors, whose number is far from the others', come last.
    kinds = sorted(known.names)
    rows = [(flags[kind], *_row(known.names[kind], roles, marks, known)) for kind in kinds]
    words = sorted({sign.encode() for sign in OPERATORS}, key=lambda sign: (sign[0], -len(sign)))
    return _native.Language(
        rules=b"".join([struct.pack("=6H", *row) for row in rows]),
        names=tuple([known.names[kind].encode() for kind in kinds]),
        keywords=tuple([word.encode() for word in KEYWORDS[lang]]),
        operators=tuple(words),
        alternative=known.fields.get("alternative", _NO_FIELD),
        update=known.fields.get("update", _NO_FIELD)
        if mode == "compat" and compat.RULES[lang].again_after == "for_clause"
        else _NO_FIELD,
        budget=BUDGET,
        deepest=DEEPEST,
        is_compat=mode == "compat",
        bare_else=compat.RULES[lang].bare_else,
        by_position=compat.RULES[lang].defines_by_position,
    )


def _row(
    name: str,
    roles: _Roles,
    marks: dict[str, int],
    known: Grammar,
) -> tuple[int, int, int, int, int]:
    role, fields = roles.get(name, ("", ()))
    numbers = [known.fields.get(field, _NO_FIELD) if field else _AFTER_EQUALS for field in fields]
    left, right, body = (*numbers, *[_NO_FIELD] * 3)[:3]
    return _ROLES.index(role), marks.get(name, 0), left, right, body


def _marks(lang: str, mode: Literal["compat", "fixed"]) -> dict[str, int]:
    marked = dict(_MARKED)
    if mode == "compat":
        marked |= {"first": compat.RULES[lang].first}
        marked |= {"again_after": (compat.RULES[lang].again_after,)}
    else:
        marked |= {"first": flows.RULES[lang].first, "list": flows.RULES[lang].lists}
    marks: dict[str, int] = {}
    for name in set(grammar(lang).names.values()):
        found = [mark for mark, names in marked.items() if name in names]
        found += ["else"] if "else" in name else []
        found += ["unary"] if name.endswith("unary_expression") else []
        marks[name] = sum([_MARKS[mark] for mark in found])
    return marks


def _fixed_roles(lang: str) -> _Roles:
    """Return role and fields of each kind; what comes later goes before."""
    rules = flows.RULES[lang]
    roles: _Roles = dict.fromkeys(rules.update, ("update", ()))
    roles |= dict.fromkeys(rules.again, ("again", ()))
    roles |= {kind: ("each", sides) for kind, sides in rules.each.items()}
    roles |= dict.fromkeys(rules.branch, ("branch", ()))
    roles |= {kind: ("assign", sides) for kind, sides in rules.assign.items()}
    return roles | {kind: ("define", sides) for kind, sides in rules.define.items()}


def _compat_roles(lang: str) -> _Roles:
    fields = {
        "define": ("name", "value"),
        "assign": ("left", "right"),
        "assign_each": ("left", "right"),
        "each": compat.RULES[lang].each_fields,
    }
    known = grammar(lang).names
    return {
        known[kind]: ("again" if role == "repeat" else role, fields.get(role, ()))
        for kind, role in compat.roles(lang).items()
    }
