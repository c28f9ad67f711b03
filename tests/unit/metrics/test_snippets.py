"""Methods and programs of Java and C# told apart, in time that hostile text cannot stretch."""

from __future__ import annotations

import pytest

from weightcut.metrics.snippets import is_whole, split_imports

HOSTILE = {
    "comments": "/* a */\n" * 5_000 + "int f() { return 1; }",
    "an open comment": "/*" * 20_000,
    "stars": "/*" + "*" * 50_000,
    "an import without an end": "import" + " " * 50_000,
    "modifiers": "public static " * 4_000,
    "annotations": "@A(" * 10_000,
}


@pytest.mark.timeout(300)  # or longer than the universe is old, where a pattern tries every way
@pytest.mark.parametrize("lang", ["java", "c_sharp"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_does_not_hang(name: str, lang: str) -> None:
    assert not is_whole(HOSTILE[name], lang)
    split_imports(HOSTILE[name], lang)


@pytest.mark.parametrize(
    ("code", "lang", "whole"),
    [
        ("/* a */ /* b */ public final class A { }", "java", True),
        ('import java.util.*;\n// c\n@Deprecated(since = "1")\nclass A { }', "java", True),
        ("public static int f() { return 1; }", "java", False),
        ("using System;\n[Serializable]\npublic static class A { }", "c_sharp", True),
        ("/** ** / * **/ struct A { }", "c_sharp", True),
        ("/* class A { } */ int f() { return 1; }", "java", False),
    ],
)
def test_types_of_its_own_are_seen(code: str, lang: str, whole: bool) -> None:
    assert is_whole(code, lang) == whole
