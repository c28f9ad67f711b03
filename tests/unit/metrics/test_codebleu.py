from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightcut.errors import UsageError
from weightcut.metrics.code import languages
from weightcut.metrics.code.languages import LANGUAGES
from weightcut.metrics.codebleu import LONGEST, CodeBleu, codebleu, corpus_codebleu

TOTAL = """def total(xs):
    result = 0
    for x in xs:
        result = result + x
    return result
"""
PROGRAMS = {
    "python": TOTAL,
    "java": "public int total(int[] xs) { int t = 0; for (int x : xs) { t = t + x; } return t; }",
    "c_sharp": "public int Total(int[] xs) { int t = 0; foreach (var x in xs) t += x; return t; }",
    "javascript": "function total(xs) { let t = 0; for (const x of xs) { t = t + x; } return t; }",
    "cpp": "int total(vector<int> xs) { int t = 0; for (auto x : xs) { t = t + x; } return t; }",
    "go": "func total(xs []int) int {\n t := 0\n for _, x := range xs { t = t + x }\n return t\n}",
}
RAMBLES = {
    "a line of code": "\n    print(result)" * 60,
    "a comment": "\n# This is a test of the function" * 60,
    "prose": "\nThe function returns the result of the sum." * 60,
    "itself": ("\n" + TOTAL) * 6,
    "brackets": ")" * 300,
}
texts = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                *"()[]{}=+-<>'\"#\n\t\\;:,.",
                "x",
                "y",
                "if ",
                "for ",
                "while ",
                "return ",
                "def f",
                "0",
            ]
        ),
        max_size=40,
    ).map("".join),
    st.sampled_from(list(PROGRAMS.values())),
)
modes = st.sampled_from(["fixed", "compat"])


def parts(score: CodeBleu) -> tuple[float, ...]:
    return astuple(score)[:5]


@settings(max_examples=60)
@given(texts, texts, st.sampled_from(LANGUAGES), modes)
def test_every_part_is_between_0_and_1(a: str, b: str, lang: str, mode: str) -> None:
    assert all(0 <= part <= 1 + 1e-12 for part in parts(codebleu(a, b, lang, mode)))


@settings(max_examples=60)
@given(texts, st.sampled_from(LANGUAGES))
def test_a_text_equals_itself(text: str, lang: str) -> None:
    expected = 1.0 if text.strip() else 0.0
    assert codebleu(text, text, lang).codebleu == pytest.approx(expected)


@settings(max_examples=60)
@given(texts, st.sampled_from(LANGUAGES))
def test_an_empty_answer_scores_0(text: str, lang: str) -> None:
    assert codebleu(text, " \n", lang).codebleu == 0


@settings(max_examples=30)
@given(st.permutations([(TOTAL, TOTAL[:60]), (TOTAL, ""), ("x = 1", "y = 2"), ("a", "a")]), modes)
def test_the_order_of_the_pairs_does_not_matter(pairs: list[tuple[str, str]], mode: str) -> None:
    expected = corpus_codebleu(sorted(pairs), "python", mode)
    assert parts(corpus_codebleu(pairs, "python", mode)) == pytest.approx(parts(expected))


def test_a_corpus_of_one_pair_is_the_pair() -> None:
    other = TOTAL.replace("+", "-")
    assert corpus_codebleu([(TOTAL, other)]) == codebleu(TOTAL, other)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_has_syntax_and_flows(lang: str) -> None:
    program = PROGRAMS[lang]
    same = codebleu(program, program, lang)
    assert same == CodeBleu(1.0, 1.0, 1.0, 1.0, 1.0)
    other = codebleu(program, program.replace("+", "-").replace("x)", "y)"), lang)
    assert 0 < other.codebleu < 1


@pytest.mark.parametrize("lang", LANGUAGES)
def test_another_flow_of_values_is_noticed(lang: str) -> None:
    program = PROGRAMS[lang]
    other = program.replace("t + x", "x").replace("result + x", "x").replace("t += x", "x += t")
    assert other != program
    assert codebleu(program, other, lang).dataflow_match < 1


@pytest.mark.parametrize("name", RAMBLES)
def test_rambling_on_after_the_right_answer_costs(name: str) -> None:
    right = codebleu(TOTAL, TOTAL).codebleu
    rambling = codebleu(TOTAL, TOTAL + RAMBLES[name]).codebleu
    assert rambling < 0.75 * right


def test_the_package_rewards_what_the_fixed_mode_does_not() -> None:
    rambling = TOTAL + RAMBLES["a line of code"]
    assert codebleu(TOTAL, rambling, mode="compat").weighted_ngram_match == 1
    assert codebleu(TOTAL, rambling).weighted_ngram_match < 0.2


class TestDefectsAreMended:
    def test_zero_dataflow_is_not_1(self) -> None:
        compat = codebleu('print("hello")', "import os", mode="compat")
        fixed = codebleu('print("hello")', "import os")
        assert compat.codebleu == pytest.approx(0.25)
        assert fixed.codebleu == 0
        assert not fixed.has_dataflow

    def test_without_any_flow_the_mean_is_over_the_other_parts(self) -> None:
        same = codebleu('print("hello")', 'print("hello")')
        assert same.codebleu == 1
        assert same.dataflow_match == 0

    def test_flows_that_are_not_in_the_reference_count_against(self) -> None:
        assert codebleu("pass", "x = y").dataflow_match == 0
        assert codebleu("pass", "x = y").has_dataflow

    def test_subtrees_are_clipped(self) -> None:
        three, one = "a = 1\nb = 2\nc = 3", "a = 1"
        assert codebleu(three, one, mode="compat").syntax_match == pytest.approx(6 / 7)
        assert codebleu(three, one).syntax_match == pytest.approx(0.4)

    def test_subtrees_too_many_cost(self) -> None:
        extra = "a = 1\nimport os\nwhile True:\n    pass"
        assert codebleu("a = 1", extra).syntax_match < codebleu("a = 1", "a = 1").syntax_match

    @pytest.mark.parametrize(("before", "after"), [("<", ">"), ("and", "or"), ("-", "+")])
    def test_operators_count(self, before: str, after: str) -> None:
        reference = "return a < b and c - d"
        other = reference.replace(before, after)
        assert codebleu(reference, other, mode="compat").syntax_match == 1
        assert codebleu(reference, other).syntax_match < 1

    def test_too_few_words_are_penalized_in_the_weighted_match_too(self) -> None:
        short = codebleu(TOTAL, "def total(xs):")
        assert short.weighted_ngram_match < 0.15

    def test_white_space_between_tokens_is_nothing(self) -> None:
        tight = TOTAL.replace(" = ", "=").replace(" + ", "+")
        assert codebleu(TOTAL, tight).codebleu == 1

    def test_comments_and_docstrings_are_no_syntax(self) -> None:
        documented = TOTAL.replace(
            "    result = 0", '    """Add up."""\n    result = 0  # none yet'
        )
        score = codebleu(TOTAL, documented)
        assert (score.syntax_match, score.dataflow_match) == (1, 1)

    @pytest.mark.parametrize("lang", ["java", "c_sharp"])
    def test_the_same_method_in_another_class_of_text_parses_alike(self, lang: str) -> None:
        method = PROGRAMS[lang]
        assert codebleu(method, "  " + method + "\n", lang).syntax_match == 1

    def test_names_do_not_matter_to_flows(self) -> None:
        other = TOTAL.replace("result", "answer").replace("xs", "items")
        assert codebleu(TOTAL, other).dataflow_match == 1

    def test_wide_characters_do_not_disturb(self) -> None:
        wide = TOTAL.replace("result", "résultat").replace("xs", "日本")
        assert codebleu(TOTAL, wide).dataflow_match == 1


def test_weights_choose_among_the_parts() -> None:
    other = TOTAL.replace("+", "-")
    score = codebleu(TOTAL, other, weights=(0, 0, 1, 0))
    assert score.codebleu == score.syntax_match
    assert codebleu(TOTAL, other, weights=(2, 2, 2, 2)).codebleu == pytest.approx(
        codebleu(TOTAL, other).codebleu
    )


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'python'"):
        codebleu("x", "x", "pythn")
    with pytest.raises(UsageError, match="unknown mode 'strict'"):
        codebleu("x", "x", mode="strict")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="four numbers"):
        codebleu("x", "x", weights=(1, 1, 1, -1))
    with pytest.raises(UsageError, match="four numbers"):
        codebleu("x", "x", weights=(0, 0, 0, 0))
    with pytest.raises(UsageError, match="at least one pair"):
        corpus_codebleu([])


HOSTILE = {
    "nul": "a\0b = \0" * 10,
    "lone surrogates": '\ud800 x = "\udfff"',
    "nested brackets": "(" * 10_000 + ")" * 10_000,
    "open brackets": "[{(" * 5_000,
    "calls in calls": "f(" * 10_000,
    "binary": bytes(range(256)).decode("latin-1") * 20,
    "deep blocks": "".join(" " * i + "if x:\n" for i in range(400)),
    "loops in loops": "".join(" " * i + "while x:\n" for i in range(60)) + " " * 60 + "x = y",
    "loops without blocks": "while(x) " * 500 + "y = x;",
    "escaped quotes": "\\'" * 20_000,
    "open comments": "/*" * 5_000,
    "a wide assignment": ",".join("ab" * 2_000) + " = " + ", ".join("a" * 5_000),
    "a wide update": "++f(" + ",".join(f"x{i}" for i in range(3_000)) + ")",
    "a long chain": "a" + ".b" * 5_000,
    "a long sum": "1" + "+1" * 5_000,
    "many branches": "if(a)b=1;else " * 1_000 + "c=2;",
    "emoji": "😀" * 500,
    "10 MB": "x = 1\n" * 1_700_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", ["fixed", "compat"])
def test_no_text_crashes_or_hangs(name: str, mode: str) -> None:
    text = HOSTILE[name]
    for lang in LANGUAGES:
        score = codebleu(PROGRAMS[lang], text, lang, mode)  # type: ignore[arg-type]
        assert all(0 <= part <= 1 for part in parts(score))
        codebleu(text, PROGRAMS[lang], lang, mode)  # type: ignore[arg-type]


def test_recovery_from_errors_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"if a: b=1\nx=b\n" * 1_000
    assert languages.parse(text, "java").descendant_count > 1_000
    monkeypatch.setattr(languages, "PATIENCE", 20)
    given_up = languages.parse(text, "java")
    assert given_up.has_error
    assert given_up.end_byte == 1
    assert not languages.parse(b"class A {}", "java").has_error


def test_a_long_text_is_read_piece_by_piece_as_it_is_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = ("x = 'é日' + y\n" * 800 + "日").encode()
    in_pieces = languages.parse(text, "python")
    monkeypatch.setattr(languages, "SHORT", len(text))
    assert str(in_pieces) == str(languages.parse(text, "python"))
    assert in_pieces.end_byte == len(text) > 10_000


def test_what_is_too_long_scores_0() -> None:
    long = "x = 1\n" * (LONGEST // 6 + 1)
    assert codebleu(TOTAL, long).codebleu == 0


def test_scores_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from weightcut.metrics.codebleu import codebleu\n"
        "a = 'for i in a:\\n  x = beta + alpha + gamma\\n  y = x + i'\n"
        "b = 'for i in a:\\n  x = one + two + three\\n  y = x + i'\n"
        "print([codebleu(a, b, mode=m) for m in ('fixed', 'compat')])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(seen) == 1
