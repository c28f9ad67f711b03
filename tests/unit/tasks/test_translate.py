from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from weightcut import api
from weightcut.errors import BrokenInput, UsageError
from weightcut.metrics.parses import parses
from weightcut.metrics.snippets import compiler_missing, whole
from weightcut.models.scripted import ScriptedModel
from weightcut.records import Completion, Sample
from weightcut.study.spec import load_study
from weightcut.tasks.translate import Translate, embedded_pairs, read_pairs

PUBLIC = Path(__file__).parents[4] / "shared" / "data" / "codexglue_java_cs"
needs_public = pytest.mark.skipif(not PUBLIC.is_dir(), reason="CodeXGLUE's data are not here")
DIRECTIONS = pytest.mark.parametrize("direction", ["java-cs", "cs-java"])


def _values(task: Translate, sample: Sample, text: str, *, chat: bool = True) -> dict[str, float]:
    ids = tuple(map(ord, text[:40]))
    answer = Completion(
        request_id=sample.id, text=text, token_ids=ids, token_times=(), finish_reason="stop"
    )
    return task.score(sample, answer, chat).values


@DIRECTIONS
def test_the_reference_scores_full_and_the_source_does_not(direction: Any) -> None:
    task = Translate(direction=direction)
    assert len(task.items()) >= 20
    for sample in task.items()[::4]:
        right = _values(task, sample, sample.reference)
        assert [right[m] for m in task.metrics] == pytest.approx([1, 1, 1, 1])
        assert all(value <= 1 for name, value in right.items() if "." not in name)
        wrong = _values(task, sample, sample.messages[0]["content"].partition("```")[2])
        assert wrong["bleu"] < 1
        assert wrong["exact_match"] == 0


@DIRECTIONS
def test_a_compiler_judges_where_there_is_one(direction: Any) -> None:
    task = Translate(direction=direction)
    sample = task.items()[0]
    missing = compiler_missing(task.target)
    if missing:
        assert missing in task.notes()[-1]
        assert "compiles" not in _values(task, sample, sample.reference)
        pytest.skip(missing)
    for text, right in (
        (sample.reference, 1),
        (sample.reference.replace("total", "unknown", 1), 0),
        (sample.reference[:-3], 0),
    ):
        assert _values(task, sample, text)["compiles"] == right


def test_white_space_and_a_class_around_it_cost_nothing() -> None:
    task = Translate()
    sample = task.items()[0]
    tight = " ".join(sample.reference.split())
    for text in (tight, f"using System;\nclass Program {{\n{sample.reference}\n}}\n```\nDone."):
        assert _values(task, sample, text)["exact_match"] == 1
        assert _values(task, sample, text)["parses"] == 1


@pytest.mark.parametrize("text", ["", "\x00", "{" * 10_000, "\ud800", "no", "é" * 10_000_000])
@pytest.mark.parametrize("chat", [True, False])
def test_rubbish_scores_nothing(text: str, chat: bool) -> None:
    task = Translate()
    values = _values(task, task.items()[0], text, chat=chat)
    assert max(values[m] for m in task.metrics) < 0.05
    assert values["parses"] == 0


def test_the_prompt_asks_for_the_other_language() -> None:
    (sample,) = Translate(direction="cs-java", limit=1).items()
    assert "following C# code to Java" in sample.messages[0]["content"]
    assert sample.prefill == "```java\n"
    assert sample.plain_prompt.startswith("// C#\n")


@pytest.mark.parametrize(
    ("lang", "command", "ending"),
    [("java", ["javac", "-d", "."], "java"), ("c_sharp", ["mcs", "-target:library"], "cs")],
)
def test_the_embedded_pairs_compile(
    tmp_path: Path, lang: str, command: list[str], ending: str
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    column = 1 if lang == "java" else 2
    files = []
    for pair in embedded_pairs():
        name = pair[0].replace("-", "_")
        file = tmp_path / f"{name}.{ending}"
        file.write_text(whole(pair[column], lang).replace("class Snippet", f"class {name}_"))
        files.append(file.name)
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_of_the_embedded_pairs_are_unique() -> None:
    names = [pair[0] for pair in embedded_pairs()]
    assert len(set(names)) == len(names)


def _folder(root: Path, java: str, sharp: str, split: str = "test") -> str:
    (root / f"{split}.java-cs.txt.java").write_text(java)
    (root / f"{split}.java-cs.txt.cs").write_text(sharp)
    return str(root)


def test_a_folder_of_aligned_lines(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "int a() { return 1; }\n" * 12, "int A() { return 1; }\n" * 12)
    pairs = read_pairs(folder, "test")
    assert [pair[0] for pair in pairs][:2] == ["01", "02"]
    assert pairs[0][1:] == ("int a() { return 1; }", "int A() { return 1; }")
    assert Translate(data=folder).notes()[0].startswith("translate: methods name types")


def test_broken_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder") as missing:
        read_pairs(str(tmp_path / "nowhere"), "test")
    assert "microsoft/CodeXGLUE" in missing.value.cure
    with pytest.raises(UsageError, match=r"lacks the file test\.java-cs\.txt\.java"):
        read_pairs(str(tmp_path), "test")
    folder = _folder(tmp_path, "a\nb\n", "a\n")
    with pytest.raises(BrokenInput, match="2 lines of Java but 1 of C#"):
        read_pairs(folder, "test")
    _folder(tmp_path, "a\n\nc\n", "a\nb\nc\n")
    with pytest.raises(BrokenInput, match=r"\.java:2: is empty"):
        read_pairs(folder, "test")
    (tmp_path / "test.java-cs.txt.java").write_text("a\nb\nc\n")
    (tmp_path / "test.java-cs.txt.cs").write_bytes(b"\xff\n")
    with pytest.raises(BrokenInput, match="UTF-8"):
        read_pairs(folder, "test")


def test_a_table_of_the_hubs_form(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "test-00000-of-00001.parquet"
    parquet.write_table(pyarrow.table({"id": [0], "java": ["int a;"], "cs": ["int A;"]}), file)
    assert read_pairs(str(tmp_path), "test") == [("1", "int a;", "int A;")]
    parquet.write_table(pyarrow.table({"java": ["int a;"], "cs": [None]}), file)
    with pytest.raises(UsageError, match="not texts"):
        read_pairs(str(tmp_path), "test")
    file.write_bytes(b"PAR1")
    with pytest.raises(BrokenInput, match="no table"):
        read_pairs(str(tmp_path), "test")


@needs_public
@DIRECTIONS
def test_codexglues_references_score_full(direction: Any) -> None:
    task = Translate(direction=direction, data=str(PUBLIC))
    samples = task.items()
    assert len(samples) == 1000
    unparsed = 0
    for sample in samples[::10]:
        values = _values(task, sample, sample.reference)
        assert [values[m] for m in ("bleu", "codebleu", "exact_match")] == pytest.approx([1, 1, 1])
    for sample in samples:
        unparsed += not parses(whole(sample.reference, task.target), task.target)
    assert unparsed <= 1


def test_a_study_of_translation(tmp_path: Path) -> None:
    answers = {java.strip(): f"```csharp\n{sharp}```" for _, java, sharp in embedded_pairs()}
    model = ScriptedModel(answers=answers).save(tmp_path / "model", weight_bytes=1000)
    worse = [{"kind": "scripted-shrink", "skill_lost": 0.9}]
    study = load_study(
        {
            "model": str(model),
            "variants": {
                "full": {"engine": "scripted", "recipe": []},
                "worse": {"engine": "scripted", "recipe": worse},
            },
            "tasks": [{"name": "translate", "limit": 12, "max_new_tokens": 1500}],
            "profile": None,
            "keep": {"metric": "bleu", "share": 0.98},
        }
    )
    full, less = api.evaluate_tradeoff(study, tmp_path / "run").variants
    assert full.tasks["translate"]["bleu"]["value"] == pytest.approx(1)
    assert full.tasks["translate"]["exact_match"]["value"] == 1
    assert full.tasks["translate"]["corpus_bleu"]["value"] == pytest.approx(1)
    assert less.tasks["translate"]["exact_match"]["value"] < 0.5
    assert less.verdict == "lost"
