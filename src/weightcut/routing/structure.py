"""What a prompt looks like: length, digits, signs, options, code, language, kind of question."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_QUESTION = (
    "what", "which", "who", "when", "where", "why", "how", "if", "suppose", "consider", "find",
    "calculate", "compute", "let", "statement", "true", "false", "not", "except", "best", "most",
    "likely", "following", "write", "implement", "explain", "fix", "return", "prove", "translate",
    "summarize", "list", "compare", "given",
)  # fmt: skip
_LANGUAGES = {
    "python": {"def", "import", "self", "elif", "none", "lambda", "print", "assert"},
    "java": {"public", "private", "void", "static", "final", "extends", "string", "boolean"},
    "c": {"include", "int", "printf", "struct", "char", "sizeof", "std", "malloc"},
    "javascript": {"function", "const", "var", "let", "console", "typeof", "undefined", "await"},
    "sql": {"select", "from", "where", "join", "group", "insert", "order", "table"},
    "go": {"func", "package", "fmt", "chan", "defer", "nil", "interface", "goroutine"},
}
_SIGNS = ("+-*/=<>^", "(){}[]", "\\$", "?", ".", ",", "\"'", ":;", "_", "`")
_OPTION = re.compile(r"\n\(?[A-Z][.)] ?([^\n]*)")
_DIGIT = re.compile(r"\d")

_ASCII = 128
_IS_SIGN = np.array([[chr(code) in signs for signs in _SIGNS] for code in range(_ASCII)], np.int64)

NAMES: tuple[str, ...] = (
    "characters", "words", "lines", "word_length", "digit_share", "capital_share", "digits",
    *(f"signs {signs}" for signs in _SIGNS),
    "options", "option_mean", "option_longest", "option_shortest", "option_spread",
    "option_numbers", "option_different", "vocabulary", "stem", "foreign", "longest_word",
    "long_words", "asks", "indented", "tests", "fences",
    *(f"language {name}" for name in _LANGUAGES),
    *(f"says {word}" for word in _QUESTION),
)  # fmt: skip


SHAPE = NAMES.index(f"says {_QUESTION[0]}")
"""So many features come first that are no single words."""


def structure(prompt: str, tokens: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the features in the order of NAMES; counts are given as logarithms.

    tokens: `ngrams.tokens(prompt)`, the words, digits and signs in small letters.
    """
    counts = _characters(prompt)
    lines = int(counts[ord("\n")]) + 1
    length, words = max(1, len(prompt)), int(counts[ord(" ")]) + lines
    digits = int(counts[48:58].sum())
    options = _OPTION.findall(prompt)
    stem = prompt[: prompt.find("\n")] if options else prompt
    different = set(tokens)
    lengths = list(map(len, different))

    def count(mark: str) -> int:
        return prompt.count(mark) if counts[ord(mark[-1])] else 0

    values = [
        math.log1p(len(prompt)),
        math.log1p(words),
        math.log1p(lines),
        math.log1p(len(prompt) / words),
        digits / length,
        int(counts[65:91].sum()) / length,
        math.log1p(digits),
        *np.log1p(counts @ _IS_SIGN),
        *_options(options),
        len(different) / max(1, len(tokens)),
        math.log1p(len(stem)),
        1 - int(counts.sum()) / length if prompt else 0.0,
        math.log1p(max(lengths, default=0)),
        len([n for n in lengths if n >= 8]) / max(1, len(lengths)),
        float(stem.rstrip().endswith("?")),
        (prompt.startswith((" ", "\t")) + prompt.count("\n ") + count("\n\t")) / lines,
        math.log1p(count(">>>") + prompt.count("assert")),
        math.log1p(count("```")),
        *(math.log1p(len(marks & different)) for marks in _LANGUAGES.values()),
        *(float(word in different) for word in _QUESTION),
    ]
    return np.array(values, np.float32)


def _characters(prompt: str) -> npt.NDArray[np.int64]:
    """Return how often each character of ASCII occurs."""
    if prompt.isascii():
        return np.bincount(np.frombuffer(prompt.encode(), np.uint8), minlength=_ASCII)
    codes = np.frombuffer(prompt.encode("utf-32-le"), np.uint32)
    return np.bincount(codes[codes < _ASCII], minlength=_ASCII)


def _options(options: list[str]) -> list[float]:
    """Return how many answers are offered, and how long and how numeric they are."""
    lengths = [len(option) for option in options] or [0]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((n - mean) ** 2 for n in lengths) / len(lengths))
    numbers = len(list(filter(_DIGIT.search, options)))
    return [
        float(min(len(options), 10)),
        math.log1p(mean),
        math.log1p(max(lengths)),
        math.log1p(min(lengths)),
        spread / (1 + mean),
        numbers / max(1, len(options)),
        float(len({min(n, 1000) for n in lengths[:10]})),
    ]
