"""From a model's answer to the Java or C# code in it.

The rules, in order:

1. Code stands in Markdown fences, if there are any (the last one may be unclosed). Of several
   blocks the first that is named for the wanted language is taken, else the first. A fence that
   is opened twice (by the prompt and by the model) counts once.
2. Without a fence, code is what lies between the first line that looks like a declaration (or an
   import before it) and the last closing brace; without such a line, the whole answer.
3. A model that answers with a whole class where a method was asked for has not answered wrongly:
   a class around a single run of members is taken off where a method is wanted.
"""

from __future__ import annotations

import re

from weightcut.metrics.snippets import is_whole, split_imports

_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([^\n`]*)\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)
_OPENED_TWICE = re.compile(r"\A(?:[ \t]*(?:```|~~~)[^\n`]*\n\s*)+(?=(?:```|~~~)[^\n`]*\n)")
_NAMES = {"java": ("java",), "c_sharp": ("csharp", "c#", "cs", "c-sharp")}
_START = re.compile(
    r"^[ \t]*(?:import [\w.*]+;|using [\w.]+;|@\w+|\[\w|"
    r"(?:public|private|protected|internal|static|final|abstract|sealed|class|interface|enum|"
    r"struct|namespace|void|int|long|bool|boolean|double|float|char|string|String)\b)",
    re.MULTILINE,
)
_CLASS = re.compile(r"\bclass\s+\w+")


def extract_braces(answer: str, lang: str) -> str:
    """Return the code in an answer; lang: java or c_sharp."""
    answer = _OPENED_TWICE.sub("", answer.replace("\r\n", "\n").replace("\x00", ""))
    blocks = [(m[2].strip().lower(), m[3]) for m in _FENCE.finditer(answer) if m[3].strip()]
    if blocks:
        named = [text for name, text in blocks if name in _NAMES[lang]]
        return (named or [blocks[0][1]])[0].strip("\n")
    start = _START.search(answer)
    if start is None:
        return answer.strip()
    end = answer.rfind("}") + 1
    return answer[start.start() : end if end > start.start() else None].strip("\n")


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


_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?(?:\"\"\"|\Z)|@\"(?:[^\"]|\"\")*\"?|"
    r"\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)+'|[{}]",
    re.DOTALL,
)
