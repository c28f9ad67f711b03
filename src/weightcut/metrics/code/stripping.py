"""Taking comments and docstrings out of a text the way `codebleu` 0.7.0 does it.

For Python that package goes through Python's own tokenizer as it was up to 3.11, and keeps the
text as it is where that finds an error; the scanner here comes to the same text without making
tokens, on every version of Python. For other languages it is one regular expression.
"""

from __future__ import annotations

import re

_PREFIXES = frozenset(["b", "r", "u", "f", "br", "rb", "fr", "rf"])
_STOP = re.compile(r"[#\"'()\[\]{}\\]")
_BLANK = re.compile(r"[ \t\f]*")
_COMMENT = re.compile(r"#[^\r\n]*")
_WORD_BEFORE = re.compile(r"\w*\Z")
_LONG = {
    '"': re.compile(r'[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""', re.DOTALL),
    "'": re.compile(r"[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''", re.DOTALL),
}
_SHORT = {
    '"': re.compile(r'[^\n"\\]*(?:\\.[^\n"\\]*)*("|\\\r?\n)'),
    "'": re.compile(r"[^\n'\\]*(?:\\.[^\n'\\]*)*('|\\\r?\n)"),
}
_SHORT_END = {
    '"': re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"'),
    "'": re.compile(r"[^'\\]*(?:\\.[^'\\]*)*'"),
}


def strip_comments(text: str, lang: str) -> str:
    """Return the text without comments, docstrings (Python) and blank lines."""
    if lang == "python":
        stripped = _Scanner(text).run() if _needs_scan(text) else text
    else:
        stripped = _strip_c_like(text) if "//" in text or "/*" in text else text
    if stripped is None:
        return text
    return "\n".join([line for line in stripped.split("\n") if line.strip()])


def _needs_scan(text: str) -> bool:
    return any(sign in text for sign in "#\"'\\\t\f")


class _Unfinished(Exception):
    """The text ends in the middle of a string or statement, or its indentation is wrong."""


class _Scanner:
    """One pass over a Python text; `before` is what stands before the next token.

    It is a kind of token where that decides about a string (INDENT, NEWLINE), else anything.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.out: list[str] = []
        self.before = "INDENT"
        self.indents = [0]
        self.depth = 0
        self.continued = False
        self.endless = {"'": 0, '"': 0}  # before here no quote of this kind closes a string

    def run(self) -> str | None:
        """Return the stripped text, or None where the tokenizer would have found an error."""
        position = 0
        try:
            while position < len(self.text):
                position = self.line(position)
        except _Unfinished:
            return None
        return None if self.depth != 0 or self.continued else "".join(self.out)

    def line(self, start: int) -> int:
        """Go through one line, and further lines that a string draws in; return the next start."""
        text = self.text
        code = _BLANK.match(text, start).end()  # type: ignore[union-attr]
        if self.depth == 0 and not self.continued:
            if code == len(text):
                return code
            if text[code] in "#\r\n":
                return self.empty_line(start, code)
            self.indent(start, code)
        else:
            self.continued = False
            self.blank(start, code)
        return self.tokens(code)

    def empty_line(self, start: int, code: int) -> int:
        end = self.text.find("\n", code) + 1 or len(self.text)
        rest = self.text[code:end]
        if rest.startswith("#"):
            rest = rest[len(rest.rstrip("\r\n")) :]
        self.out.append(" " * (code - start) + rest)
        self.before = "NL"
        return end

    def indent(self, start: int, code: int) -> None:
        column = 0
        for sign in self.text[start:code]:
            column = {" ": column + 1, "\t": (column // 8 + 1) * 8, "\f": 0}[sign]
        if column > self.indents[-1]:
            self.indents.append(column)
            self.out.append(self.text[start:code])
            self.before = "INDENT"
            return
        while column < self.indents[-1]:
            if column not in self.indents:
                raise _Unfinished
            self.indents.pop()
            self.before = "DEDENT"
        self.blank(start, code)

    def blank(self, start: int, code: int) -> None:
        """Stand in for the white space before a line's first token, if it has one."""
        if not self.text.startswith(("\\\n", "\\\r\n"), code) or self.before == "DEDENT":
            self.out.append(" " * (code - start))

    def tokens(self, position: int) -> int:
        """Go from here to the end of the line; strings may carry on over further lines."""
        text, out = self.text, self.out
        done = position  # everything before it is in `out`
        end = text.find("\n", position) + 1 or len(text)
        while True:
            stop = _STOP.search(text, position, end)
            if stop is None:
                out.append(text[done:end])
                self.before = "NL" if self.depth > 0 else "NEWLINE"
                return end
            position = stop.end()
            sign = stop.group()
            if sign in "([{":
                self.depth += 1
            elif sign in ")]}":
                self.depth -= 1
            elif sign == "#":
                out.append(text[done : stop.start()])
                done = position = _COMMENT.match(text, stop.start()).end()  # type: ignore[union-attr]
            elif sign == "\\":
                newline = text[position:end]
                if newline in ("\n", "\r\n"):
                    part = text[done : stop.start()]
                    out.append(part.rstrip(" \t\f"))
                    self.before = "CODE" if part.strip() else self.before
                    self.continued = True
                    return end
            else:
                closing = self.string_end(sign, stop.start())
                if closing is None:
                    continue  # a lone quote: an error token, after which the line goes on
                if closing < 0:
                    out.append(text[done:-closing])
                    self.before = "ERROR"
                    return -closing
                done = position = self.string(done, stop.start(), closing)
                end = text.find("\n", position) + 1 or len(text)

    def string_end(self, quote: str, start: int) -> int | None:
        """Return where the string ends; None: nowhere; negative: it broke off at a line's end."""
        text = self.text
        if text.startswith(quote * 3, start):
            closing = _LONG[quote].match(text, start + 3)
            if closing is None:
                raise _Unfinished
            return closing.end()
        if start < self.endless[quote]:
            return None
        closing = _SHORT[quote].match(text, start + 1)
        if closing is None:
            # Nor does any later one in the line: it would look at the same signs in the same steps.
            self.endless[quote] = text.find("\n", start) + 1 or len(text)
            return None
        if closing.group(1) == quote:
            return closing.end()
        end = closing.end()
        while end < len(text):
            begin, end = end, text.find("\n", end) + 1 or len(text)
            closing = _SHORT_END[quote].match(text, begin, end)
            if closing is not None:
                return closing.end()
            if not text.endswith(("\\\n", "\\\r\n"), begin, end):
                return -end
        raise _Unfinished

    def string(self, done: int, quote: int, end: int) -> int:
        """Keep the string up to `end` or drop it as a docstring; return `end`."""
        text = self.text
        word = _WORD_BEFORE.search(text[done:quote]).group()  # type: ignore[union-attr]
        start = quote - len(word) if word.lower() in _PREFIXES else quote
        first_in_line = start == 0 or text[start - 1] == "\n"
        alone = not text[done:start].strip() and self.before in ("INDENT", "NEWLINE")
        self.out.append(text[done:start])
        if not (alone or first_in_line):
            self.out.append(text[start:end])
        self.before = "STRING"
        return end


_C_LIKE = {"/*": r"/\*.*?\*/", "'": r"'(?:\\.|[^\\'])*'", '"': r'"(?:\\.|[^\\"])*"'}


def _strip_c_like(text: str) -> str:
    """Replace comments by a space; what looks like one in a string stays.

    Where a quote or comment never ends there is no need to look for the end of any later one of
    its kind: this keeps the time linear.
    """
    out: list[str] = []
    open_kinds = dict(_C_LIKE)
    pattern = _c_like_pattern(open_kinds)
    position = 0
    while match := pattern.search(text, position):
        found = match.group()
        out.append(text[position : match.start()])
        if found in open_kinds:
            del open_kinds[found]
            pattern = _c_like_pattern(open_kinds)
            position = match.start()
            out.append(text[position])
            position += 1
            continue
        out.append(" " if found.startswith("/") else found)
        position = match.end()
    out.append(text[position:])
    return "".join(out)


def _c_like_pattern(kinds: dict[str, str]) -> re.Pattern[str]:
    starts = [re.escape(start) for start in kinds]
    return re.compile("|".join([r"//[^\n]*", *kinds.values(), *starts]), re.DOTALL)
