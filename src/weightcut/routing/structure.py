"""What a prompt looks like: length, digits, signs, options, code, language, kind of question."""

from __future__ import annotations

import math
import re

import numpy as np
import numpy.typing as npt

_QUESTION = (
    "what", "which", "who", "when", "where", "why", "how", "if", "suppose", "consider", "find",
    "calculate", "compute", "let", "statement", "true", "false", "not", "except", "best", "most",
    "likely", "following", "write", "implement", "explain", "fix", "return", "prove", "translate",
    "summarize", "list", "compare", "given",
)  # fmt: skip
_LANGUAGES = {
    "python": ("def ", "import ", "self", "elif ", "print(", "lambda "),
    "java": ("public ", "private ", "void ", "new ", "String ", "static "),
    "c": ("#include", "int ", "printf", "struct ", "->", "char "),
    "javascript": ("function ", "const ", "let ", "=>", "console.", "var "),
    "sql": ("SELECT ", "FROM ", "WHERE ", "JOIN ", "GROUP BY", "INSERT "),
    "go": ("func ", "package ", ":=", "fmt.", "chan ", "interface{"),
}
_SIGNS = ("+-*/=<>^", "(){}[]", "\\$", "?", ".", ",", "\"'", ":;", "_", "`")
_OPTION = re.compile(r"\n\(?[A-Z][.)] ?([^\n]*)")
_WORD = re.compile(r"[^\W\d_]+")

NAMES: tuple[str, ...] = (
    "characters", "words", "lines", "word_length", "digit_share", "capital_share", "digits",
    *(f"signs {signs}" for signs in _SIGNS),
    "options", "option_mean", "option_longest", "option_shortest", "option_spread",
    "option_numbers", "option_different", "vocabulary", "stem", "foreign", "longest_word",
    "long_words", "asks", "indented", "tests", "fences",
    *(f"language {name}" for name in _LANGUAGES),
    *(f"says {word}" for word in _QUESTION),
)  # fmt: skip


def structure(prompt: str) -> npt.NDArray[np.float32]:
    """Return the features in the order of NAMES; counts of length as logarithms."""
    spaced, words = prompt.split(), _WORD.findall(prompt.lower())
    length = max(1, len(prompt))
    digits = sum(map(str.isdigit, prompt))
    lines = prompt.split("\n")
    options = _OPTION.findall(prompt)
    stem = prompt[: prompt.find("\n")] if options else prompt
    different = set(words)
    values = [
        math.log1p(len(prompt)),
        math.log1p(len(spaced)),
        math.log1p(len(lines)),
        math.log1p(len(prompt) / max(1, len(spaced))),
        digits / length,
        sum(map(str.isupper, prompt)) / length,
        math.log1p(digits),
        *(math.log1p(sum(map(prompt.count, signs))) for signs in _SIGNS),
        *_options(options),
        len(different) / max(1, len(words)),
        math.log1p(len(stem)),
        (len(prompt.encode("utf-8", "replace")) - len(prompt)) / length,
        math.log1p(max(map(len, words), default=0)),
        sum(len(word) >= 8 for word in words) / max(1, len(words)),
        float(stem.rstrip().endswith("?")),
        sum(line[:1] in (" ", "\t") for line in lines) / len(lines),
        math.log1p(prompt.count(">>>") + prompt.count("assert")),
        math.log1p(prompt.count("```")),
        *(math.log1p(sum(map(prompt.count, marks))) for marks in _LANGUAGES.values()),
        *(float(word in different) for word in _QUESTION),
    ]
    return np.array(values, np.float32)


def _options(options: list[str]) -> list[float]:
    """Return how many answers are offered, and how long and how numeric they are."""
    lengths = [len(option) for option in options] or [0]
    mean = sum(lengths) / len(lengths)
    spread = math.sqrt(sum((n - mean) ** 2 for n in lengths) / len(lengths))
    numbers = sum(any(map(str.isdigit, option)) for option in options)
    return [
        float(min(len(options), 10)),
        math.log1p(mean),
        math.log1p(max(lengths)),
        math.log1p(min(lengths)),
        spread / (1 + mean),
        numbers / max(1, len(options)),
        float(len({min(n, 1000) for n in lengths[:10]})),
    ]
