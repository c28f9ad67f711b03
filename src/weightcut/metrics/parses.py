"""Whether an answer is a program at all."""

from __future__ import annotations

import ast
import threading
import warnings

from weightcut.metrics.code.flows import best_parse
from weightcut.metrics.code.languages import encode, language

LONGEST = 1_000_000  # characters
_warnings_lock = threading.Lock()


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


def python_error(code: str) -> Exception | None:
    """Return what keeps a text from being Python, None where nothing does; warns of nothing."""
    # The list of warning filters belongs to the whole process: one thread at a time may change it.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return error
    return None
