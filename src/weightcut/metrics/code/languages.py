"""The programming languages that the metrics know, and their grammars."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from weightcut.errors import UsageError, nearest

if TYPE_CHECKING:
    import tree_sitter

SHORT = 10_000  # bytes; whatever is in them, parsing them takes no more than tenths of a second
PATIENCE = 50_000  # reports of the parser, one in a hundred steps: about a second
ERROR_KIND = 0xFFFF  # tree-sitter's symbol of an ERROR node, which no grammar lists

LANGUAGES = ("python", "java", "c_sharp", "javascript", "cpp", "go")
_ALIASES = {
    "py": "python",
    "python3": "python",
    "c#": "c_sharp",
    "cs": "c_sharp",
    "csharp": "c_sharp",
    "c-sharp": "c_sharp",
    "js": "javascript",
    "c++": "cpp",
    "golang": "go",
}


def language(name: str) -> str:
    """Return the name used here for a language, whatever common name it goes by; else UsageError.

    >>> language("C#")
    'c_sharp'
    """
    known = name.strip().lower()
    known = _ALIASES.get(known, known)
    if known not in LANGUAGES:
        raise UsageError(f"unknown language {name!r}; {nearest(known, LANGUAGES)}")
    return known


@dataclass(frozen=True, eq=False)
class Grammar:
    """A tree-sitter grammar with its symbols looked up once.

    names: the name of each symbol. named: the symbols that are grammar rules rather than literal
    tokens. fields: the number of each field name.
    """

    lang: str
    language: tree_sitter.Language
    names: dict[int, str]
    named: frozenset[int]
    fields: dict[str, int]

    def kinds(self, *names: str) -> frozenset[int]:
        """Return the symbols of these names; a grammar may have several of one name, or none."""
        return frozenset(kind for kind, name in self.names.items() if name in names)


@cache
def grammar(lang: str) -> Grammar:
    """Return the grammar of a language (one of LANGUAGES), loaded at the first call."""
    from tree_sitter import Language

    compiled = Language(import_module(f"tree_sitter_{lang}").language())
    kinds = range(compiled.node_kind_count)
    names = {kind: compiled.node_kind_for_id(kind) or "" for kind in kinds}
    names[ERROR_KIND] = "ERROR"
    named = {kind for kind in kinds if compiled.node_kind_is_named(kind)} | {ERROR_KIND}
    numbers = range(1, compiled.field_count + 1)
    fields = {compiled.field_name_for_id(number) or "": number for number in numbers}
    return Grammar(lang, compiled, names, frozenset(named), fields)


class _Parsers(threading.local):
    """A parser is not safe to share between threads, so each thread has its own."""

    def __init__(self) -> None:
        self.by_language: dict[str, tree_sitter.Parser] = {}
        self.chunks = [bytearray(size) for size in (*range(8), *(1 << n for n in range(3, 14)))]


_parsers = _Parsers()


def _reader(source: bytes) -> Callable[[int, object], bytearray | bytes]:
    """Return what gives tree-sitter a text piece by piece.

    tree-sitter 0.26.1 never lets go of a piece that it was given, so these are the same few again
    and again: all lengths below 8, which none of UTF-8's signs exceeds, and powers of two.
    """
    chunks = _parsers.chunks

    def read(start: int, _: object) -> bytearray | bytes:
        left = len(source) - start
        if left <= 0:
            return b""
        chunk = chunks[left if left < 8 else min(left.bit_length() + 4, len(chunks) - 1)]
        chunk[:] = source[start : start + len(chunk)]
        return chunk

    return read


def parse(source: bytes, lang: str) -> tree_sitter.Node:
    """Return the root of the syntax tree; a text that is not a program gets ERROR nodes.

    Recovery from errors takes tree-sitter a time that grows with the square of the text's length.
    A long text that it cannot finish within PATIENCE is therefore taken for one single error.
    """
    parser = _parsers.by_language.get(lang)
    if parser is None:
        from tree_sitter import Parser

        parser = _parsers.by_language[lang] = Parser(grammar(lang).language)
    if len(source) <= SHORT:
        return parser.parse(source).root_node
    reports = count(1)
    try:
        tree = parser.parse(
            _reader(source),
            progress_callback=lambda *_: next(reports) > PATIENCE,
        )
    except ValueError:  # given up
        parser.reset()
        tree = parser.parse(b"\0")
    return tree.root_node


def encode(text: str) -> bytes:
    """Return the text as UTF-8; lone surrogates, which UTF-8 has no place for, become '?'."""
    return text.encode("utf-8", errors="replace")


KEYWORDS: dict[str, frozenset[str]] = {
    lang: frozenset(words.split())
    for lang, words in {
        "python": """
            False None True and as assert async await break class continue def del elif else except
            finally for from global if import in is lambda nonlocal not or pass raise return try
            while with yield match case type""",
        "java": """
            abstract assert boolean break byte case catch char class const continue default do
            double else enum extends final finally float for goto if implements import instanceof
            int interface long native new package private protected public return short static
            strictfp super switch synchronized this throw throws transient try void volatile
            while""",
        "c_sharp": """
            abstract as base bool break byte case catch char checked class const continue decimal
            default delegate do double else enum event explicit extern false finally fixed float
            for foreach goto if implicit in int interface internal is lock long namespace new null
            object operator out override params private protected public readonly ref return sbyte
            sealed short sizeof stackalloc static string struct switch this throw true try typeof
            uint ulong unchecked unsafe ushort using virtual void volatile while add alias
            ascending async await by descending dynamic equals from get global group into join let
            nameof notnull on orderby partial remove select set unmanaged value var when where
            yield""",
        "javascript": """
            await break case catch class const continue debugger default delete do else enum export
            extends false finally for function if implements import in instanceof interface let new
            null package private protected public return super switch static this throw try True
            typeof var void while with yield""",
        "cpp": """
            auto const double float int short struct unsigned break continue else for long signed
            switch void case default enum goto register sizeof typedef volatile char do extern if
            return static union while asm dynamic_cast namespace reinterpret_cast bool explicit new
            static_cast typeid catch false try operator template typename class friend private this
            using const_cast inline public throw virtual delete mutable protected true wchar_t and
            bitand compl not_eq or_eq xor_eq and_eq bitor not or xor cin endl INT_MIN iomanip main
            npos std cout include INT_MAX iostream MAX_RAND NULL string""",
        "go": """
            break default func interface select case defer go map struct chan else goto package
            switch const fallthrough if range type continue for import return var false true""",
    }.items()
}
