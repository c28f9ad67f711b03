"""Whether an answer is a program at all."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

from weightcut.metrics.code.flows import best_parse
from weightcut.metrics.code.languages import encode, language

LONGEST = 1_000_000  # characters
_warnings_lock = threading.Lock()
T = TypeVar("T")


def parses(code: str, lang: str = "python") -> bool:
    """Return whether the text is a program of the language without a syntax error.

    Python is judged by the interpreter's own parser, the others by their tree-sitter grammar
    (Java and C# methods and statements count without a class around them). Empty text and text
    longer than LONGEST characters do not parse. Never raises, whatever the text.
    """
    lang = language(lang)
    if not code.strip() or len(code) > LONGEST:
        return False
    if lang == "python":
        return python_error(code) is None
    root, _, _ = best_parse(encode(code), lang)
    return not root.has_error


def compiles(code: str) -> bool:
    """Return whether the text is Python that byte-compiles.

    Stricter than `parses`: a `return` outside a function parses and does not compile. Empty text
    and text longer than LONGEST characters do not compile. Never raises, and runs nothing.
    """
    if not code.strip() or len(code) > LONGEST:
        return False
    return python_error(code, compiled=True) is None


def parse_python(code: str) -> ast.Module | None:
    """Return the syntax tree of a Python text, None where it has none; warns of nothing."""
    try:
        return python_tree(code)
    except SyntaxError:
        return None


def python_tree(code: str) -> ast.Module:
    """Return the syntax tree of a Python text; SyntaxError where it has none; warns of nothing."""
    tree = _tried(lambda: ast.parse(code))
    if isinstance(tree, Exception):
        raise tree if isinstance(tree, SyntaxError) else SyntaxError(str(tree))
    return tree


def python_error(code: str, *, compiled: bool = False) -> Exception | None:
    """Return what keeps a text from being Python, None where nothing does; warns of nothing.

    compiled: ask the compiler too, not only the parser.
    """
    outcome = _tried(
        lambda: (
            compile(code, "<answer>", "exec", dont_inherit=True) if compiled else ast.parse(code)
        )
    )
    return outcome if isinstance(outcome, Exception) else None


def _tried(action: Callable[[], T]) -> T | Exception:
    # The list of warning filters belongs to the whole process: one thread at a time may change it.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action()
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return error
