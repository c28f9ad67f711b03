from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.metrics.snippets import is_whole, split_imports, whole
from weightcut.tasks.extract_braces import closing_brace, extract_braces, members

METHOD = "int add(int a, int b) {\n    return a + b;\n}"


@pytest.mark.parametrize(
    "answer",
    [
        f"```java\n{METHOD}\n```",
        f"```java\n{METHOD}",
        f"Here it is:\n\n```java\n{METHOD}\n```\nIt adds.\n",
        f"```csharp\nint Add() {{ }}\n```\n\n```java\n{METHOD}\n```",
        f"```\n{METHOD}\n```\n```\nadd(1, 2);\n```",
        f"Sure, I translate it.\n\n{METHOD}\n\nIt adds two numbers.",
        f"```java\r\n{METHOD}\r\n```".replace("\n", "\r\n").replace("\r\r", "\r"),
        f"```java\n\x00{METHOD}\n```",
        f"```java\n```java\n{METHOD}\n```",
        f"```java\n\n```\n{METHOD}",
        METHOD,
    ],
)
def test_the_code_of_an_answer(answer: str) -> None:
    assert extract_braces(answer, "java") == METHOD


def test_an_answer_without_code_is_left_as_it_is() -> None:
    assert extract_braces(" I cannot do that. ", "java") == "I cannot do that."
    assert extract_braces("", "java") == ""


def test_an_answer_that_was_cut_off_keeps_what_there_is() -> None:
    assert extract_braces("```java\nint add(int a) {\n    ret", "java").endswith("    ret")
    assert extract_braces("int add(int a) {\n    ret", "java") == "int add(int a) {\n    ret"


@pytest.mark.parametrize(
    ("code", "lang"),
    [
        (f"class Solution {{\n{METHOD}\n}}", "java"),
        (
            f"import java.util.*;\n\n// adds\npublic final class S extends T {{\n{METHOD}\n}}",
            "java",
        ),
        (f"using System;\n\ninternal static class S : T\n{{\n{METHOD}\n}}\n", "c_sharp"),
        (f"import java.util.List;\n{METHOD}", "java"),
        (METHOD, "java"),
    ],
)
def test_members_without_the_class_around_them(code: str, lang: str) -> None:
    assert members(code, lang) == METHOD


@pytest.mark.parametrize(
    "code", ["class A { int a; } class B { }", "interface A { int a(); }", "class A { int a;"]
)
def test_what_is_more_than_one_whole_class_stays(code: str) -> None:
    assert members(code, "java") == code


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("{ }", 2),
        ('{ "}" }', 6),
        ("{ '}' }", 6),
        ("{ // }\n}", 7),
        ("{ /* } */ }", 10),
        ('{ "\\"}" }', 8),
        ('{ @"\\" }', 7),
        ("{ {} ", None),
        ('{ "', None),
        ("{ /* }", None),
    ],
)
def test_braces_in_texts_and_comments_do_not_count(text: str, end: int | None) -> None:
    assert closing_brace(text, 0) == end


def test_a_method_becomes_a_program() -> None:
    program = whole(f"import java.awt.Point;\npackage a.b;\n\n@Override\n{METHOD}", "java")
    assert "class Snippet {\n@Override\nint add" in program
    assert "import java.awt.Point;" in program
    assert "package" not in program
    assert "class Snippet" not in whole(f"class A {{\n{METHOD}\n}}", "java")
    assert "class Snippet" in whole("[Obsolete]\npublic int A() { return 1; }", "c_sharp")
    assert is_whole("/* a class */ @Deprecated public enum A { }", "java")
    assert not is_whole("classify();", "java")
    assert split_imports("using System;\nusing A = B.C;\nint x;", "c_sharp")[1] == "int x;"
    assert split_imports("using (var x = Open()) { }", "c_sharp")[0] == ""


@given(
    st.text(alphabet="ab{}\";'/*\\@\n`class import(", max_size=200),
    st.sampled_from(["java", "c_sharp"]),
)
def test_no_answer_breaks_it(answer: str, lang: str) -> None:
    code = extract_braces(answer, lang)
    assert isinstance(members(code, lang), str)
    assert isinstance(whole(code, lang), str)
