"""Methods and programs of Java and C# told apart, in time that hostile text cannot stretch."""

from __future__ import annotations

import time

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


@pytest.mark.parametrize("lang", ["java", "c_sharp"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_judged_at_once(name: str, lang: str) -> None:
    start = time.process_time()
    assert not is_whole(HOSTILE[name], lang)
    split_imports(HOSTILE[name], lang)
    # Not a timing: what went wrong here took longer than the age of the universe.
    assert time.process_time() - start < 30


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
