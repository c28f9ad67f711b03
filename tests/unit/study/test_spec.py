"""Study files: defaults, overrides, and errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weightcut.errors import UsageError
from weightcut.study.spec import load_study

GOOD = """\
study: small
model: some/folder
baseline: full
variants:
  full: {engine: transformers, recipe: []}
  ov: {engine: openvino, recipe: [{kind: int8}]}
tasks:
  - humaneval
  - {name: perplexity, limit: 3}
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def test_the_built_in_study_is_valid() -> None:
    spec = load_study()
    assert spec.study == "quickstart"
    assert [v.name for v in spec.variants][:2] == ["full", "ov-16bit"]
    assert len(spec.variants) == 7
    assert spec.keep.share == 0.95
    assert spec.target.latency_speedup == 2.0


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    spec = load_study(_write(tmp_path, "model: m\nvariants:\n  a: {engine: transformers}\n"))
    assert (spec.study, spec.baseline, spec.seed) == ("small", "a", 0)
    assert [task.kind for task in spec.tasks] == ["humaneval", "perplexity"]
    assert spec.profile is not None


def test_a_mapping_reads_like_a_file() -> None:
    spec = load_study({"model": "m", "variants": {"a": {"engine": "transformers"}}, "tasks": []})
    assert spec.baseline == "a"


def test_overrides_use_the_paths_of_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD)
    spec = load_study(path, {"tasks.0.limit": "20", "tasks.1.limit": "7", "keep.share": "0.9"})
    assert [task.settings["limit"] for task in spec.tasks] == [20, 7]
    assert spec.keep.share == 0.9


def test_an_override_finds_the_default_tasks(tmp_path: Path) -> None:
    path = _write(tmp_path, "model: m\nvariants:\n  a: {engine: transformers}\n")
    spec = load_study(path, {"tasks.0.limit": "20", "tasks.1.limit": "7"})
    assert [(task.kind, task.settings["limit"]) for task in spec.tasks] == [
        ("humaneval", 20),
        ("perplexity", 7),
    ]


@pytest.mark.parametrize("text", ["[1", "!x foo", "2024-13-45", "a: b: c"])
def test_an_override_that_is_no_yaml_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="cannot read the value of 'seed'") as raised:
        load_study(_write(tmp_path, GOOD), {"seed": text})
    assert raised.value.place == "--set"


def test_a_list_makes_variants(tmp_path: Path) -> None:
    text = GOOD + "seed: 3\n"
    text = text.replace("[{kind: int8}]", "[{kind: prune-depth, ratio: [0.1, 0.2]}, int8]")
    spec = load_study(_write(tmp_path, text))
    assert [v.name for v in spec.variants] == ["full", "ov-ratio0.1", "ov-ratio0.2"]
    assert spec.variants[2].recipe[0].settings == {"ratio": 0.2}


def test_a_recipe_may_be_a_string(tmp_path: Path) -> None:
    spec = load_study(_write(tmp_path, GOOD.replace("[{kind: int8}]", '"prune-depth(0.2) | int8"')))
    assert [s.kind for s in spec.variants[1].recipe] == ["prune-depth", "int8"]


def test_engines_and_tasks_take_settings_in_brackets(tmp_path: Path) -> None:
    text = GOOD.replace("engine: openvino", '"engine": "openvino(precision=f32, threads=2)"')
    text = text.replace("- humaneval", '- "humaneval(limit=7, temperature=0.5)"')
    spec = load_study(_write(tmp_path, text))
    settings = spec.variants[1].engine.settings
    assert (settings["precision"], settings["threads"]) == ("f32", 2)
    assert spec.tasks[0].settings["limit"] == 7
    assert spec.tasks[0].settings["temperature"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("engine: openvino", 'engine: "openvino(presicion=f32)"', 6, "did you mean 'precision'"),
        ("engine: openvino", 'engine: "openvino(f32"', 6, "cannot read"),
        ("baseline: full", "basline: full", 3, "did you mean 'baseline'"),
        ("baseline: full", "baseline: ful", 3, "did you mean 'full'"),
        ("kind: int8", "kind: int88", 6, "did you mean 'int8'"),
        ("kind: int8", "kind: int8, moed: sym", 6, "no setting 'moed'"),
        ("engine: openvino", "engine: openvin", 6, "did you mean 'openvino'"),
        ("engine: openvino", "enginee: openvino", 6, "did you mean 'engine'"),
        ("- humaneval", "- humanevel", 8, "did you mean 'humaneval'"),
        ("limit: 3", "limt: 3", 9, "did you mean 'limit'"),
        ("limit: 3", "limit: 0", 9, "greater than or equal to 1"),
        ("- humaneval", "- humaneval\n  - humaneval", 9, "stands twice"),
        ("model: some/folder", "model: some/folder\nmodel: other", 3, "stands twice"),
        ("model: some/folder", "model: [", 0, "broken YAML"),
        ("model: some/folder", "model: !x foo", 2, "could not determine a constructor"),
        ("model: some/folder", "model: some/folder\nseed: 2024-13-45", 3, "month must be"),
        ("model: some/folder", "model: some/folder\n? [a, b]\n: 1", 3, "single value"),
        ("model: some/folder\n", "", 1, "lacks the key 'model'"),
        ("model: some/folder", "model: some/folder\nkeep: {share: 2}", 3, "share"),
        ("model: some/folder", "model: some/folder\nseed: -1", 3, "whole number"),
        ("  ov:", "  a/b:", 6, "cannot be named"),
        ("  ov:", "  '..':", 6, "cannot be named"),
        ("study: small", "study: a/b", 1, "cannot be named 'a/b'"),
        ("study: small", "study: '..'", 1, "cannot be named '..'"),
        ("study: small", 'study: "a\\n"', 1, "cannot be named"),
        ("tasks:", "keep: {metric: codebleau}\ntasks:", 7, "did you mean 'codebleu'"),
        ("tasks:", "keep: {metric: correct}\ntasks:", 7, "no task measures 'correct'"),
        ("tasks:", "keep: {metric: pass@10}\ntasks:", 7, "did you mean 'pass@1'"),
        ("tasks:", "keep: {task: humanevel}\ntasks:", 7, "did you mean 'humaneval'"),
        ("tasks:", "keep: {task: mbpp}\ntasks:", 7, "has no task 'mbpp'"),
        ("tasks:", "keep: {task: perplexity}\ntasks:", 7, "does not measure 'codebleu'"),
        ("tasks:", "profile: {concurrency: [8, 8]}\ntasks:", 7, "none twice"),
        ("tasks:", "profile: {concurrency: [0]}\ntasks:", 7, "none below 1"),
        ("tasks:", "profile: {concurrency: []}\ntasks:", 7, "at least one number"),
        ("[{kind: int8}]", "[{kind: prune-depth, ratio: [0.1, 0.1]}]", 6, "named 'ov-ratio0.1'"),
    ],
)
def test_errors_name_line_and_nearest_name(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    path = _write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load_study(path)
    assert says in str(caught.value)
    assert caught.value.place.startswith(f"{path}:{line or ''}")


def test_a_sweep_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    text = GOOD.replace("[{kind: int8}]", "[{kind: prune-depth, ratio: [0.1, 0.2]}]")
    text = text.replace("tasks:", "  ov-ratio0.2: {engine: openvino}\ntasks:")
    with pytest.raises(UsageError, match=r"would be named 'ov-ratio0\.2'") as caught:
        load_study(_write(tmp_path, text))
    assert caught.value.place.endswith(":7")


@pytest.mark.parametrize(
    ("tasks", "keep"),
    [
        (["humaneval"], {"metric": "pass@1"}),
        (["humaneval"], {"metric": "passed", "task": "humaneval"}),
        (["humaneval"], {"metric": "degenerate"}),
        (["humaneval", "perplexity"], {"metric": "perplexity"}),
        (["perplexity"], {"metric": "bits_per_byte", "task": "perplexity"}),
        (["repair"], {"metric": "correct", "task": "repair"}),
        (["translate"], {"metric": "compiles"}),
        (["examples/own_task.py:Slugs"], {"metric": "pass@1", "task": "slugs"}),
        (["perplexity"], {"share": 0.9}),
        ([], {}),
    ],
)
def test_what_the_tasks_measure_can_be_kept(tasks: list[str], keep: dict[str, Any]) -> None:
    variants = {"a": {"engine": "scripted"}}
    spec = load_study({"model": "m", "variants": variants, "tasks": tasks, "keep": keep})
    assert spec.keep.metric == keep.get("metric", "codebleu")


def test_a_folder_hides_no_built_in_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quickstart").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_study("quickstart").study == "quickstart"


def test_an_unknown_study_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="did you mean 'quickstart'"):
        load_study("quikstart")
    with pytest.raises(UsageError, match="no such study file"):
        load_study("nowhere.yaml")
