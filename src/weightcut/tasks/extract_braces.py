"""From a model's answer to the Java or C# code in it.

The rules, in order:

1. Code stands in Markdown fences, if there are any (`weightcut.tasks.fences`). Of several blocks
   the first with a declaration is taken, one that is named for the wanted language before others.
2. Outside fences, code is what lies between the first line that looks like a declaration (or an
   import before it) and the last closing brace; without such a line, the whole answer.
3. A model that answers with a whole class where a method was asked for has not answered wrongly:
   `members` takes a class off that is all there is.
"""

from __future__ import annotations

import re

from weightcut.metrics.snippets import is_whole, split_imports
from weightcut.tasks.fences import clean, take_apart

_NAMES = {"java": ("java",), "c_sharp": ("csharp", "c#", "cs", "c-sharp")}
_START = re.compile(
    r"^[ \t]*(?:import [\w.*]+;|using [\w.]+;|@\w+|\[\w|"
    r"(?:public|private|protected|internal|static|final|abstract|sealed|class|interface|enum|"
    r"struct|namespace|void|int|long|bool|boolean|double|float|char|string|String)\b)",
    re.MULTILINE,
)
_CLASS = re.compile(r"\bclass\s+\w+")
_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?(?:\"\"\"|\Z)|@\"(?:[^\"]|\"\")*\"?|"
    r"\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)+'|[{}]",
    re.DOTALL,
)


def extract_braces(answer: str, lang: str) -> str:
    """Return the code in an answer; lang: java or c_sharp."""
    found = take_apart(clean(answer))
    if found.blocks:
        ranked = sorted(
            found.blocks,
            key=lambda b: (_START.search(b.code) is None, b.language not in _NAMES[lang]),
        )
        return ranked[0].code.strip("\n")
    text = found.outside
    start = _START.search(text)
    if start is None:
        return text.strip()
    end = text.rfind("}") + 1
    return text[start.start() : end if end > start.start() else None].strip("\n")


def members(code: str, lang: str) -> str:
    """Return the members of the one class that a text is, or the text without its imports."""
    _, rest = split_imports(code, lang)
    if not is_whole(rest, lang):
        return rest.strip()
    opening = rest.find("{")
    head = rest[: max(opening, 0)]
    end = closing_brace(rest, opening) if _CLASS.search(head) and ";" not in head else None
    if end is None or rest[end + 1 :].strip():
        return rest.strip()
    return rest[opening + 1 : end].strip()


def without_method(code: str, head: re.Pattern[str]) -> str:
    """Return the text without the first method whose head, up to its brace, `head` matches."""
    found = head.search(code)
    if found is None:
        return code
    end = closing_brace(code, found.end() - 1)
    return code[: found.start()] + (code[end + 1 :] if end is not None else "")


def closing_brace(code: str, opening: int) -> int | None:
    """Return where the brace at `opening` is closed, None where it is not.

    Braces in comments, strings and characters do not count.
    """
    depth = 0
    for match in _TOKEN.finditer(code, opening):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None
