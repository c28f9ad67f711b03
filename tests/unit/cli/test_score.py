from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weightcut.cli.score import app
from weightcut.errors import BrokenInput, UsageError

PAIRS = [
    {"id": "a", "lang": "python", "reference": "x = y + 1", "prediction": "x = y + 1"},
    {"id": "b", "lang": "java", "reference": "int x = y;", "prediction": ""},
    {"id": 3, "lang": "C#", "reference": "int x = y;", "prediction": "int x = z\0\ud800;"},
]
COMMANDS = ("codebleu", "bleu", "exact-match", "parses")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path, *map(json.dumps, PAIRS))


def write(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_codebleu_as_json_has_the_documented_form(pairs: Path) -> None:
    result = json.loads(run("codebleu", pairs, "--json").stdout)
    parts = {
        "codebleu",
        "ngram_match",
        "weighted_ngram_match",
        "syntax_match",
        "dataflow_match",
    }
    assert [row["id"] for row in result["pairs"]] == ["a", "b", "3"]
    assert all(set(row) == {"id", *parts} for row in result["pairs"])
    assert set(result["corpus"]) == parts
    assert result["pairs"][0]["codebleu"] == 1
    assert result["pairs"][1]["codebleu"] == 0


def test_the_modes_differ(pairs: Path) -> None:
    compat = json.loads(run("codebleu", pairs, "--mode", "compat", "--json").stdout)
    assert compat["pairs"][1]["codebleu"] == 0.25


def test_weights_are_taken(pairs: Path) -> None:
    found = json.loads(run("codebleu", pairs, "--weights", "0,0,1,0", "--json").stdout)
    assert all(row["codebleu"] == row["syntax_match"] for row in found["pairs"])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_a_row_a_pair_and_the_corpus(command: str, pairs: Path) -> None:
    shown = run(command, pairs)
    assert shown.exit_code == 0, shown.exception
    assert "corpus of 3" in shown.stdout
    as_json = json.loads(run(command, pairs, "--json").stdout)
    assert len(as_json["pairs"]) == 3
    assert set(as_json["corpus"]) == set(as_json["pairs"][0]) - {"id"}


def test_the_other_metrics_have_the_right_values(pairs: Path) -> None:
    assert json.loads(run("exact-match", pairs, "--json").stdout)["corpus"] == {
        "exact_match": pytest.approx(1 / 3)
    }
    rows = json.loads(run("parses", pairs, "--json").stdout)["pairs"]
    assert [row["parses"] for row in rows] == [True, False, False]
    rows = json.loads(run("bleu", pairs, "--json").stdout)["pairs"]
    assert [row["bleu"] for row in rows[:2]] == [pytest.approx(100), 0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "x", "lang":', "pairs.jsonl:2: not a JSON object"),
        ("[1]", "pairs.jsonl:2: not a JSON object"),
        ('{"id": "x", "lang": "go", "reference": "a"}', "2: field 'prediction' is missing"),
        (
            '{"id": "x", "lang": "go", "reference": "a", "prediction": null}',
            "2: field 'prediction' is not a text",
        ),
        ("\udcff", "pairs.jsonl:2: not a JSON object"),
        ("[" * 50_000, "pairs.jsonl:2: not a JSON object"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "pairs.jsonl"
    lines = [json.dumps(PAIRS[0]), line, json.dumps(PAIRS[1])]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    error = run("codebleu", path).exception
    assert isinstance(error, BrokenInput)
    assert says in str(error)


def test_an_unknown_language_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(PAIRS[0] | {"lang": "pyton"}))
    for command in ("codebleu", "parses"):
        error = run(command, path).exception
        assert isinstance(error, UsageError)
        assert "pairs.jsonl:1" in str(error)
        assert "'python'" in str(error)


def test_no_file_no_pairs_and_no_such_weights(tmp_path: Path, pairs: Path) -> None:
    assert isinstance(run("bleu", tmp_path / "absent.jsonl").exception, UsageError)
    assert isinstance(run("bleu", write(tmp_path, "", " ")).exception, BrokenInput)
    assert isinstance(run("codebleu", pairs, "--weights", "1,2").exception, UsageError)
    assert isinstance(run("codebleu", pairs, "--weights", "0,0,0,0").exception, UsageError)
    assert run("codebleu", pairs, "--mode", "strict").exit_code == 2
