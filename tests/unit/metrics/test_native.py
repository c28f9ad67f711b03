"""The compiled way of CodeBLEU gives what the one in Python gives, on whatever text."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weightcut.metrics.code import native
from weightcut.metrics.code import text as pure
from weightcut.metrics.code.languages import LANGUAGES
from weightcut.metrics.code.stripping import strip_comments

compiled = pytest.mark.skipif(
    native.missing() is not None, reason=f"no compiled CodeBLEU: {native.missing()}"
)
PROGRAMS = {
    "python": """def f(a, b=2, *c):
    '''doc'''
    x, y = a, b
    z = [k + x for k in c if k for x in k]
    for i, j in enumerate(z):  # note
        x = x + i + a; y += j
        if x > y and not  x or x not in y:
            y = x
        elif x < 3:
            x, y = y, x
        else:
            w = x
        while y:
            y = x = w
    if (n := 5) and f'{x}{n}': w: int = n + x
    return x if y else w
""",
    "java": """public int f(int a, List<String> b) { int x = a, y;
for (String s : b) { x = x + s.length(); if (x > 2) { y = x; } else if (x < 0) { y = a; } else y++;
} for (int i = 0, k = 2; i < x; i++) { y += i; while (y > 0) { y--; x = y; } }
do { a = x; } while (a != 0); /* c */ return x + y; // d
}""",
    "c_sharp": """public int F(int a, List<string> b) { int x = a, y;
foreach (var s in b) { x = x + s.Length; if (x > 2) { y = x; } else if (x < 0) { y = a; } else y++;
} for (int i = 0, k = 2; i < x; i++) { y += i; while (y > 0) { --y; x = y; } }
do { a = x; } while (a != 0); var z = -x; return x + y + z; }""",
    "javascript": """function f(a, b = 2, ...c) { let [x, y] = [a, b];
for (const k of c) { x = x + k; if (x > y) { y = x; } else if (x < 3) { x++; } else { y--; } }
for (let i = 0; i < 10; i++) { while (x) { y += x, x = y; } } return { x, y: `t${x}` }; }""",
    "cpp": """int f(std::vector<int> v, int n = 3) { int t = 0, u;
for (auto x : v) { t = t + x; if (t > n) u = t; else if (t < 0) u = n; else { u = 1; } }
for (int i = 0; i < n; ++i) { t += i; u--; while (t) { t = u; } } do { n = t; } while (n);
const char *s = "a\\"b"; return t + u; }""",
    "go": """func f(xs []int, n int) (int, error) { var t, u int = 0, n
a, b := xs[0], u
for i, x := range xs { t = t + x
if t > n { u = t } else if t < 0 { u = a } else { b++ } }
for i := 0; i < n; i++ { a, b = b, a
u += i }
for t < n { t-- }
return t, nil }""",
}
PIECES = [
    *"()[]{}\"'#;,=\n\t\\ xy<0",
    *["'''", '"""', "//", "/*", "*/", "\\\n", "\r\n", "\x0c", "\x1c", "\0", "\ud800", "é", "日本"],
    *["if x:\n ", " else ", "elif x:\n ", "for x in y:\n ", "while (x) ", "else if (x) ", "x = y"],
    *["for (int i = 0; i < n; i++) ", "a, b = b, a", "r'a'", "f'{x}'", "x += z", "++x", "not  in"],
    *["if (a) b = 1; ", "foreach (var q in w) ", "for (const q of w) ", "x = alpha + beta + x\n"],
]
pieces = st.sampled_from(PIECES)
modes = st.sampled_from(["compat", "fixed"])


@st.composite
def texts(draw: st.DrawFn, lang: str) -> str:
    """Draw a program with a few mutilations, or none of it left."""
    text = draw(st.sampled_from([PROGRAMS[lang], "", f"while (x) {{\n{PROGRAMS[lang]}\n}}"]))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 5, 40]))
        text = text[:start] + "".join(draw(st.lists(pieces, max_size=4))) + text[end:]
    return text.strip()


def both_ways(a: str, b: str, lang: str, mode: str) -> None:
    """Hold the two ways to the same counts of two texts, and of what they have in common."""
    ours = [native.analyse(text, lang, mode) for text in (a, b)]  # type: ignore[arg-type]
    theirs = [pure.analyse(text, lang, mode) for text in (a, b)]  # type: ignore[arg-type]
    for x, y in zip(ours, theirs, strict=True):
        assert x.totals == y.totals
    for clipped in (True, False):
        assert ours[0].shared(ours[1], clipped) == theirs[0].shared(theirs[1], clipped)


@compiled
@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from(LANGUAGES), modes)
def test_both_ways_count_the_same(data: st.DataObject, lang: str, mode: str) -> None:
    both_ways(data.draw(texts(lang)), data.draw(texts(lang)), lang, mode)


HOSTILE = {
    "nothing": "",
    "NUL": "a\0b = \0" * 10,
    "lone surrogates": '\ud800 x = "\udfff"',
    "wide": "für = ü + '日本\n語' # é\nwhile x:\n  ä = ö + ü + ß\n" * 3,
    "nested brackets": "(" * 3_000 + ")" * 3_000,
    "open brackets": "[{(" * 1_000,
    "binary": bytes(range(256)).decode("latin-1") * 5,
    "deep blocks": "".join(" " * i + "if x:\n" for i in range(140)),
    "loops without blocks": "while(x) " * 140 + "y = x;",
    "many branches": "if(a)b=1;else " * 200 + "c=2;",
    "branches one by one": "if(a)b=1;\nx=b;" * 300,
    "loops in loops": "for(int i=0;i<n;i++)" * 60 + "x=y;",
    "a wide call": "x = f(" + ",".join(f"a{i}" for i in range(2_500)) + ");",
    "many names in a loop": "while x:\n  x = " + " + ".join(f"q{i}" for i in range(400)),
    "a wide assignment": ",".join("ab" * 500) + " = " + ", ".join("a" * 1_000),
    "open strings": "'\\\n" * 500 + '"""' + "\\" * 99,
}


@compiled
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_both_ways_count_the_same_in_hostile_texts(name: str, lang: str) -> None:
    for mode in ("compat", "fixed"):
        both_ways(HOSTILE[name].strip(), PROGRAMS[lang], lang, mode)


@compiled
@settings(max_examples=200)
@given(st.lists(pieces.filter(str.isascii), max_size=25).map("".join))
@example("'a\\\nb' # c\ny = (1, # d\n 2)")
@example("/*/ it's // note")
@example("\t x\n\x0c y #\r\n'''d'''\\")
def test_both_ways_strip_the_same(text: str) -> None:
    from weightcut.metrics.code import _native

    assert _native.strip(text, True).decode() == strip_comments(text, "python")
    assert _native.strip(text, False).decode() == strip_comments(text, "java")


@compiled
def test_wrong_use_of_the_extension_is_told() -> None:
    from weightcut.metrics.code import _native

    with pytest.raises(TypeError):
        _native.analyse("python", "x", None, b"", False, False, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ASCII"):
        _native.strip("é", True)
    text = native.analyse("x", "python", "fixed")
    with pytest.raises(TypeError):
        text.shared("x", True)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        type(text)()


def test_without_the_extension_the_scores_are_the_same() -> None:
    program = (
        "from weightcut.metrics.code import native\n"
        "from weightcut.metrics.codebleu import codebleu\n"
        f"a, b = {PROGRAMS['python']!r}, {PROGRAMS['python'][:300]!r}\n"
        "print(native.missing() is None, [codebleu(a, b, mode=m) for m in ('compat', 'fixed')])"
    )
    answers = []
    for switch in ({}, {native.SWITCH: "1"}):
        environment = {k: v for k, v in os.environ.items() if k != native.SWITCH} | switch
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(done.stdout.split(" ", 1))
    assert answers[0][1] == answers[1][1]
    assert answers[1][0] == "False"
