"""Methods of Java and C# as whole programs, so that a compiler or a parser can judge them."""

from __future__ import annotations

import re

from weightcut.metrics import execution

IMPORTS = {
    "java": "import java.io.*;\nimport java.util.*;\nimport java.util.function.*;\n"
    "import java.util.stream.*;\n",
    "c_sharp": "using System;\nusing System.Collections.Generic;\nusing System.IO;\n"
    "using System.Linq;\nusing System.Text;\n",
}
_MAIN = {
    "java": "class CompileOnly {\n    public static void main(String[] args) { }\n}\n",
    "c_sharp": "class CompileOnly {\n    static void Main() { }\n}\n",
}
_IMPORT = {
    "java": re.compile(r"[ \t]*(?:import|package)\s[\w.*\s]+;[ \t]*\n?"),
    "c_sharp": re.compile(r"[ \t]*using\s[\w.=\s]+;[ \t]*\n?"),
}
_TYPE = re.compile(
    r"(?:\s|//[^\n]*\n|/\*(?:[^*]|\*(?!/))*+\*/|@\w+(?:\([^)]*\))?|\[[^\]]*\])*+"
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|strictfp)\s+)*+"
    r"(?:class|interface|enum|struct|record|namespace)\b"
)


def split_imports(code: str, lang: str) -> tuple[str, str]:
    """Return the imports that a text begins with, and the rest."""
    at = 0
    while match := _IMPORT[lang].match(code, at):
        at = match.end()
    return code[:at], code[at:].lstrip("\n")


def is_whole(code: str, lang: str) -> bool:
    """Return whether a text declares types of its own, rather than being a method on its own."""
    return _TYPE.match(split_imports(code, lang)[1]) is not None


def whole(code: str, lang: str) -> str:
    """Return a program that a compiler can judge: a method is put into a class, imports in front.

    lang: java or c_sharp. The usual imports are there for every program, as most methods of a
    benchmark name no imports.
    """
    imports, rest = split_imports(code, lang)
    if lang == "java":
        imports = re.sub(r"(?m)^[ \t]*package\b[^;]*;", "", imports)
    body = rest if is_whole(code, lang) else f"class Snippet {{\n{rest}\n}}\n"
    return f"{IMPORTS[lang]}{imports}{body}"


def compiler_missing(lang: str) -> str | None:
    """Return why programs of a language cannot be compiled here, None if they can."""
    return execution.java_missing() if lang == "java" else execution.csharp_missing()


def compiles(code: str, lang: str, timeout: float = 10) -> bool:
    """Return whether a compiler takes a method or program; nothing of it runs.

    It is compiled in the sandbox beside an empty main program. timeout: CPU seconds. NotHere where
    `compiler_missing` gives a reason.
    """
    run = execution.run_java if lang == "java" else execution.run_csharp
    return run(whole(code, lang) + "\n" + _MAIN[lang], timeout=timeout).status == "passed"
