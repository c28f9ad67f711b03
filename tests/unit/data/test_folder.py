from __future__ import annotations

import os
from pathlib import Path

import pytest

from weightcut.data import folder
from weightcut.data.corpus import documents
from weightcut.data.folder import content_digest, read_texts
from weightcut.errors import UsageError


def _write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_texts_of_a_folder_in_order_of_name(tmp_path: Path) -> None:
    files = {"b.py": b"b = 1\r\n", "a/c.txt": "\ufeffé\n".encode(), "a/d.py": b"d = 2\n"}
    found = read_texts(_write(tmp_path, files))
    assert [(one.name, one.text) for one in found.documents] == [
        ("a/c.txt", "é\n"), ("a/d.py", "d = 2\n"), ("b.py", "b = 1\n"),
    ]  # fmt: skip
    assert found.skipped == ()
    only = read_texts(tmp_path, "*.py")
    assert [one.name for one in only.documents] == ["a/d.py", "b.py"]
    assert [one.text for one in read_texts(tmp_path / "b.py").documents] == ["b = 1\n"]


def test_what_is_no_text_is_left_out_and_named(tmp_path: Path) -> None:
    files = {
        "good.txt": b"good",
        "binary.txt": b"a\0b",
        "latin.txt": "é".encode("latin-1"),
        "empty.txt": b" \n",
        "huge.txt": b"x" * (folder.LARGEST + 1),
    }
    found = read_texts(_write(tmp_path, files))
    assert [one.name for one in found.documents] == ["good.txt"]
    assert dict(found.skipped) == {
        "binary.txt": "is binary",
        "latin.txt": "is no UTF-8 (byte 0)",
        "empty.txt": "is empty",
        "huge.txt": "is larger than 1 MiB",
    }


def test_hidden_files_links_and_pipes_are_passed_over(tmp_path: Path) -> None:
    outside = _write(tmp_path / "outside", {"secret.txt": b"secret"})
    root = _write(tmp_path / "texts", {"good.txt": b"good", ".git/config": b"x", ".env": b"y"})
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "pipe.txt")
    assert [one.name for one in read_texts(root).documents] == ["good.txt"]


@pytest.mark.parametrize("split", ["calibration", "training", "validation"])
def test_what_models_learn_from_is_left_out(tmp_path: Path, split: folder.Split) -> None:
    known = documents(split)[0].text
    files = {"mine.py": b"x = 1\n", "copy.py": known.replace("\n", " \r\n").encode()}
    found = read_texts(_write(tmp_path, files))
    assert [one.name for one in found.documents] == ["mine.py"]
    assert found.skipped == (("copy.py", f"is also a {split} text"),)


def test_no_document_of_the_evaluation_text_is_one_that_models_learn_from() -> None:
    held_out = {content_digest(one.text) for one in documents("evaluation")}
    assert not held_out & folder._learnt().keys()


def test_a_part_of_a_large_folder_that_is_always_the_same(tmp_path: Path) -> None:
    _write(tmp_path, {f"{i}.txt": b"x" * 100 for i in range(40)})
    found = read_texts(tmp_path, enough=1000)
    assert found == read_texts(tmp_path, enough=1000)
    assert len(found.documents) == 10
    assert found.skipped == (("30 further files", "0 MiB of text are enough"),)
    assert [one.name for one in found.documents] != [f"{i}.txt" for i in range(10)]


def test_no_text_at_all_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such text file"):
        read_texts(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no text that can be measured"):
        read_texts(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"\0")
    with pytest.raises(UsageError, match=r"a\.bin, is binary"):
        read_texts(tmp_path)
