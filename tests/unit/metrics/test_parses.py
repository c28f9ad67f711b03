from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from weightcut.errors import UsageError
from weightcut.metrics.code.languages import LANGUAGES
from weightcut.metrics.parses import parses

GOOD = {
    "python": "def f(x):\n    return x + 1\n",
    "java": "public int f(int x) { return x + 1; }",
    "c_sharp": "public int F(int x) { return x + 1; }",
    "javascript": "function f(x) { return x + 1; }",
    "cpp": "int f(int x) { return x + 1; }",
    "go": "package p\nfunc f(x int) int { return x + 1 }",
}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_programs_parse_and_broken_ones_do_not(lang: str) -> None:
    assert parses(GOOD[lang], lang)
    assert not parses(GOOD[lang].replace("(", "", 1), lang)
    assert not parses(GOOD[lang] + "\n)", lang)
    assert not parses("", lang)
    assert not parses(" \n\t", lang)
    assert not parses("Here is the function you asked for:", lang)


@pytest.mark.parametrize(
    "code",
    [
        "class A { int f() { return 1; } }",
        "import java.util.List;\nclass A { }",
        "int x = 1; x++;",
        "@Override public String toString() { return a; }",
        "public A(int x) { super(x); }",
    ],
)
def test_java_programs_methods_and_statements_parse(code: str) -> None:
    assert parses(code, "java")


@pytest.mark.parametrize(
    "code",
    [
        "using System;\nclass A { int F() { return 1; } }",
        "public override string ToString() { return a; }",
        "public A(int x) : base(x) { }",
        "int x = 1; x++;",
    ],
)
def test_c_sharp_programs_methods_and_statements_parse(code: str) -> None:
    assert parses(code, "C#")


@pytest.mark.parametrize(
    "code",
    [
        "a\0b",
        "\ud800",
        "x = '\udc00'",
        "(" * 10_000,
        "-" * 50_000 + "1",
        "a" + ".b" * 20_000,
        "x = 1\n" * 1_700_000,
        bytes(range(256)).decode("latin-1"),
    ],
)
def test_no_text_makes_it_raise(code: str) -> None:
    for lang in LANGUAGES:
        assert parses(code, lang) in (True, False)


def test_warnings_of_the_parser_are_nobodys_business() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parses('x = "\\d"')


def test_several_threads_may_ask() -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [GOOD[lang] for lang in LANGUAGES] * 20
        langs = list(LANGUAGES) * 20
        assert all(pool.map(parses, asked, langs))


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(UsageError, match="unknown language 'cobol'"):
        parses("x", "cobol")
