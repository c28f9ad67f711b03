"""MBPP from a folder: both files, its prompts, its tests, and broken data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.answers import completion, scores, share

from weightcut.errors import BrokenInput, UsageError
from weightcut.tasks.mbpp import Mbpp

ROWS: list[dict[str, Any]] = [
    {
        "task_id": number,
        "text": f"Write a function to add {number}.",
        "code": f"import math\r\ndef add_{number}(x): \r\n\treturn x + {number}",
        "test_setup_code": "",
        "test_list": [f"assert add_{number}({x}) == {number + x}" for x in (1, 0)],
        "challenge_test_list": [],
    }
    for number in (2, 3, 11, 12, 601)
]  # fmt: skip
SUM: dict[str, Any] = {
    "task_id": 13,
    "text": "Write a function to add up.",
    "code": "class Node:\n    value = 7\ndef sum(a, b):\n    return a + b",
    "test_setup_code": "node = Node()",
    "test_list": "['assert sum(node.value, 1) == 8']",
}


def _folder(folder: Path, rows: list[Any], name: str = "mbpp.jsonl") -> str:
    lines = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text(lines, encoding="utf-8")
    return str(folder)


def test_solutions_pass_and_others_do_not(tmp_path: Path) -> None:
    task = Mbpp(data=_folder(tmp_path, [*ROWS, SUM]))
    assert [sample.id for sample in task.items()] == ["011", "012", "013"]
    for chat in (True, False):
        assert share(scores(task, lambda s: s.reference, chat), "passed") == 1
        assert share(scores(task, lambda s: s.reference, chat), "compiles") == 1
        assert share(scores(task, lambda _: "def add_11(x): return 0", chat), "passed") == 0


def test_the_prompts_are_the_papers(tmp_path: Path) -> None:
    task = Mbpp(data=_folder(tmp_path, [*ROWS, SUM]))
    first, _, last = task.items()
    assert first.messages[0]["content"].startswith(
        "You are an expert Python programmer, and here is your task: Write a function to add 11. "
        "Your code should pass these tests:\n\nassert add_11(1) == 12\nassert add_11(0) == 11\n"
    )
    assert first.plain_prompt.count("[BEGIN]") == 3, "two solved examples, and the task"
    assert first.plain_prompt.count("[DONE]") == 2
    assert first.plain_prompt.endswith("assert add_11(0) == 11\n[BEGIN]\n")
    assert "[BEGIN]\nimport math\ndef add_2(x): \n\treturn x + 2\n[DONE]" in first.plain_prompt
    assert "node = Node()\nassert sum(" in last.messages[0]["content"]


def test_the_sanitized_file_and_the_splits(tmp_path: Path) -> None:
    row = {
        "task_id": 14,
        "prompt": "Root.",
        "code": "def root(x): return x ** 0.5",
        "test_imports": ["import math"],
        "test_list": ["assert math.isclose(root(2), 2 ** 0.5)"],
    }
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([row]))
    task = Mbpp(data=str(tmp_path), subset="sanitized")
    assert share(scores(task, lambda s: s.reference), "passed") == 1
    with pytest.raises(UsageError, match="split 'train'") as caught:
        Mbpp(data=str(tmp_path), subset="sanitized", split="train").items()
    assert caught.value.cure == "set split: all"
    folder = _folder(tmp_path, ROWS)
    assert [s.id for s in Mbpp(data=folder, split="all").items()] == [
        "002", "003", "011", "012", "601",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "is no JSON"),
        ("[" * 5_000, "is no JSON"),
        ("[1]", "is no JSON object"),
        ({**SUM, "code": None}, "lacks the text 'code'"),
        ({**SUM, "task_id": "13"}, "'task_id' is missing"),
        ({**SUM, "test_list": "__import__('os').system('true')"}, "no Python literal"),
        ({**SUM, "test_list": "[1]"}, "no list of texts"),
        ({**SUM, "test_list": []}, "'test_list' is empty"),
        ({**SUM, "test_list": ["assert other()"]}, "call no function of the code"),
        ({**SUM, "code": "def sum("}, "call no function of the code"),
        ({**SUM, "text": "half \ud800"}, r"half a surrogate pair \(\\ud800\) is no text"),
        ({**SUM, "test_list": r"['assert sum(1, 2) == \"\udc00\"']"}, r"\\udc00"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, row: Any, says: str) -> None:
    task = Mbpp(data=_folder(tmp_path, [ROWS[0], "", row]))
    with pytest.raises(BrokenInput, match=says) as caught:
        task.items()
    assert caught.value.place == f"{tmp_path / 'mbpp.jsonl'}:3"


def test_half_a_sign_in_the_sanitized_file_is_named(tmp_path: Path) -> None:
    row = {"task_id": 14, "prompt": "\udfff", "code": "def f(): pass", "test_list": ["f()"]}
    (tmp_path / "sanitized-mbpp.json").write_text(json.dumps([row]))
    with pytest.raises(BrokenInput, match=r"\\udfff") as caught:
        Mbpp(data=str(tmp_path), subset="sanitized").items()
    assert caught.value.place.endswith("sanitized-mbpp.json, task 1 of the list")


def test_missing_data_says_what_and_where_from(tmp_path: Path) -> None:
    for place, says in (
        ("", "brings no data of its own"),
        (str(tmp_path), r"lacks the file mbpp\.jsonl"),
        (str(tmp_path / "none"), "no such folder"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            Mbpp(data=place).items()
        assert "google-research" in caught.value.cure
    (tmp_path / "sanitized-mbpp.json").write_text('[\n{"task_id": 1,\n]')
    with pytest.raises(BrokenInput, match="is no JSON") as broken:
        Mbpp(data=str(tmp_path), subset="sanitized").items()
    assert broken.value.place.endswith("sanitized-mbpp.json:3")


def test_an_answer_of_another_name_or_none_fails(tmp_path: Path) -> None:
    task = Mbpp(data=_folder(tmp_path, ROWS))
    for text in ("", "def other(x): return x", "\0", "[DONE]"):
        assert task.score(task.items()[0], completion(text), chat=True).values["passed"] == 0


def test_the_hubs_tables_give_the_same_tasks(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    (tmp_path / "tables" / "full").mkdir(parents=True)
    for name, rows in (("test", ROWS[2:]), ("prompt", ROWS[:2])):
        table = pa.Table.from_pylist(rows)
        parquet.write_table(table, tmp_path / "tables" / "full" / f"{name}-0.parquet")
    tables = Mbpp(data=str(tmp_path / "tables"), split="all")
    assert tables.items() == Mbpp(data=_folder(tmp_path, ROWS), split="all").items()
    (tmp_path / "tables" / "full" / "train-0.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(BrokenInput, match="is no table"):
        Mbpp(data=str(tmp_path / "tables"), split="all").items()
