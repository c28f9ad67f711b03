from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weightcut.errors import BrokenInput, UsageError
from weightcut.metrics.execution import csharp_missing, java_missing
from weightcut.records import Completion, Sample
from weightcut.tasks.mdeval import Language, MdEval, program

PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "mdeval"
needs_public = pytest.mark.skipif(not PUBLIC.is_dir(), reason="MdEval's data are not here")
SOLUTION = {
    "python": "from typing import List\n\ndef total(values: List[int]) -> int:\n"
    "    return sum(values)\n",
    "java": "import java.util.List;\n\nclass Solution {\n"
    "    public static int total(List<Integer> values) {\n        int sum = 0;\n"
    "        for (int value : values) {\n            sum += value;\n        }\n"
    "        return sum;\n    }\n",
    "csharp": "using System.Collections.Generic;\n\nclass Solution {\n"
    "    public static int Total(List<int> values) {\n        int sum = 0;\n"
    "        foreach (int value in values) {\n            sum += value;\n        }\n"
    "        return sum;\n    }\n",
}
TEST = {
    "python": "def check():\n    assert total([1, 2]) == 3\n    assert total([]) == 0\n\ncheck()\n",
    "java": "public static void main(String[] args) {\n        assert total(List.of(1, 2)) == 3;\n"
    "    }\n}",
    "csharp": "public static void Main(string[] args) {\n"
    "        System.Diagnostics.Debug.Assert(Total(new List<int> { 1, 2 }) == 3);\n    }\n}",
}
BUG = {"python": ("sum(values)", "sum(values) + 1"), "java": ("+=", "-="), "csharp": ("+=", "-=")}
MISSING = {"python": lambda: None, "java": java_missing, "csharp": csharp_missing}
LANGUAGES: tuple[Language, ...] = ("python", "java", "csharp")


def _folder(root: Path, language: str, **changes: Any) -> str:
    row = {
        "question_id": f"{language}/1",
        "buggy_code": SOLUTION[language].replace(*BUG[language]),
        "canonical_solution": SOLUTION[language],
        "test": TEST[language],
        "instruction": f"Fix the bug:\n{SOLUTION[language]}",
    }
    name = {"python": "Python", "java": "Java", "csharp": "C#"}[language]
    (root / f"{name}.jsonl").write_text(json.dumps(row | changes) + "\n\n")
    return str(root)


def _values(task: MdEval, sample: Sample, text: str, *, chat: bool = True) -> dict[str, float]:
    answer = Completion(
        request_id=sample.id, text=text, token_ids=(1, 2), token_times=(), finish_reason="stop"
    )
    return task.score(sample, answer, chat).values


@pytest.mark.parametrize("language", LANGUAGES)
def test_right_and_wrong_answers(tmp_path: Path, language: Language) -> None:
    if reason := MISSING[language]():
        pytest.skip(reason)
    task = MdEval(language=language, data=_folder(tmp_path, language))
    (sample,) = task.items()
    right, buggy = SOLUTION[language], SOLUTION[language].replace(*BUG[language])
    brace = "" if language == "python" else "}"
    for text, passed in (
        (right, 1),
        (f"{right}{brace}\n```\nIt adds.", 1),
        (f"Sure.\n```{language}\n{right}{brace}\n```", 1),
        (buggy, 0),
        ("", 0),
        ("I cannot.", 0),
        (right[:-30], 0),
    ):
        values = _values(task, sample, text)
        assert (values["passed"], values["correct"], values["plausible"]) == (passed,) * 3, text
    assert _values(task, sample, f"{right}{brace}")["exact_match"] == 1
    assert _values(task, sample, buggy)["exact_match"] == 0
    assert _values(task, sample, right)["codebleu"] == pytest.approx(1)
    continued = right.partition("total(" if language == "python" else "class Solution {")[2]
    assert _values(task, sample, continued, chat=False)["passed"] == 1


def test_a_main_method_of_the_answer_gives_way_to_the_tests() -> None:
    own = '    public static void main(String[] args) {\n        System.out.println("{");\n    }\n'
    meta = {"imports": "import java.util.List;\n", "test": TEST["java"]}
    source = program(SOLUTION["java"] + own + "}\nclass Helper { }", meta, "java")
    assert source.count("void main") == 1
    assert "println" not in source
    assert source.index("class Helper") < source.index("class Solution")
    assert source.count("import java.util.List;") == 1


def test_a_method_without_a_class_is_put_into_one() -> None:
    meta = {"imports": "", "test": TEST["java"]}
    source = program("static int total(List<Integer> v) { return 3; }", meta, "java")
    assert source.startswith("\nclass Solution {") or "class Solution {\nstatic" in source


def test_assertions_of_csharp_are_made_to_fail() -> None:
    source = program(SOLUTION["csharp"], {"imports": "", "test": TEST["csharp"]}, "csharp")
    assert "MdEvalCheck.Assert(Total" in source
    assert "Debug.Assert" not in source


def test_broken_data_say_where(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="brings no data") as missing:
        MdEval().items()
    assert "Python.jsonl" in missing.value.cure
    with pytest.raises(UsageError, match=r"lacks the file Java\.jsonl"):
        MdEval(data=str(tmp_path), language="java").items()
    folder = _folder(tmp_path, "python", canonical_solution="def f(:")
    with pytest.raises(BrokenInput, match=r"Python\.jsonl:1: cannot be read as Python"):
        MdEval(data=folder).items()
    _folder(tmp_path, "java", test="no main")
    with pytest.raises(BrokenInput, match=r"Java\.jsonl:1: is no class Solution"):
        MdEval(data=folder, language="java").items()
    (tmp_path / "Python.jsonl").write_text('{"question_id": "Python/1"}\n')
    with pytest.raises(BrokenInput, match="lacks the text 'buggy_code'"):
        MdEval(data=folder).items()
    (tmp_path / "Python.jsonl").write_text("\n")
    with pytest.raises(BrokenInput, match="holds no task"):
        MdEval(data=folder).items()


# What passes with its bug left in, and why: see the docstring of MdEval.
EXCEPTIONS = {"python": {"027"}, "java": {"020"}}


@needs_public
@pytest.mark.parametrize(
    ("language", "chosen"), [("python", slice(19, 30)), ("java", slice(18, 21))]
)
def test_published_answers_pass_and_bugs_fail(language: Language, chosen: slice) -> None:
    if reason := MISSING[language]():
        pytest.skip(reason)
    task = MdEval(language=language, data=str(PUBLIC))
    assert len(task.items()) >= 60
    lines = (PUBLIC / f"{language.capitalize()}.jsonl").read_text().splitlines()
    for sample, line in list(zip(task.items(), lines, strict=True))[chosen]:
        row = json.loads(line)
        assert _values(task, sample, row["canonical_solution"])["passed"] == 1, sample.id
        passed = _values(task, sample, row["buggy_code"])["passed"]
        assert passed == (sample.id in EXCEPTIONS[language]), sample.id
