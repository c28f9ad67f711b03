"""Digests of folders: they depend on names and contents, and on nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weightcut.errors import BrokenInput
from weightcut.models.digest import NOTE, file_digest, folder_bytes, folder_digest


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("WEIGHTCUT_HOME", str(folder))
    return folder


def _folder(path: Path, **contents: str) -> Path:
    path.mkdir()
    for name, text in contents.items():
        (path / name).write_text(text)
    return path


def test_the_same_files_elsewhere_have_the_same_digest(tmp_path: Path) -> None:
    one, two = (_folder(tmp_path / name, a="1", b="22") for name in "xy")
    assert folder_digest(one) == folder_digest(two)
    assert folder_bytes(one) == 3


def test_names_and_contents_count_and_notes_do_not(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "x", a="1", b="2")
    first = folder_digest(folder)
    (folder / NOTE).write_text("{}")
    (folder / ".hidden").write_text("x")
    assert folder_digest(folder) == first
    (folder / "a").rename(folder / "c")
    second = folder_digest(folder)
    (folder / "b").write_text("3")
    assert len({first, second, folder_digest(folder)}) == 3


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    first = file_digest(path)
    memory = [p for p in (home / "digests").rglob("*") if p.is_file()]
    assert [p.read_text() for p in memory] == [first]
    memory[0].write_text("f" * 64)
    assert file_digest(path) == "f" * 64
    status = path.stat()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert file_digest(path) not in (first, "f" * 64)


def test_a_cache_that_cannot_be_written_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    monkeypatch.setenv("WEIGHTCUT_HOME", str(path / "below-a-file"))
    assert len(file_digest(path)) == 64


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match="is no folder"):
        folder_digest(tmp_path / "none")
