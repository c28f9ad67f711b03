"""Artifacts: made once, whole or not at all, verified when opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightcut.errors import BrokenInput
from weightcut.records import Artifact, Step
from weightcut.store.artifacts import RECORD, ArtifactStore, read_artifact


class Maker:
    def __init__(self, text: str = "weights") -> None:
        self.text, self.calls = text, 0

    def __call__(self, folder: Path) -> Artifact:
        self.calls += 1
        (folder / "sub").mkdir()
        (folder / "sub" / "model.bin").write_text(self.text)
        step = Step(kind="int8")
        return Artifact(
            path=folder, format="hf", digest="", bytes=0, checkpoint="c", recipe=(step,)
        )


def test_an_artifact_is_made_once(tmp_path: Path) -> None:
    store, maker = ArtifactStore(tmp_path), Maker()
    first, cached = store.get_or_make("k", maker)
    again, reused = store.get_or_make("k", maker)
    assert (cached, reused, maker.calls) == (False, True, 1)
    assert first == again
    assert first.bytes == len("weights")
    assert first.recipe == (Step(kind="int8"),)


def test_a_changed_file_is_found_and_made_again(tmp_path: Path) -> None:
    store, maker = ArtifactStore(tmp_path), Maker()
    artifact, _ = store.get_or_make("k", maker)
    (artifact.path / "sub" / "model.bin").write_text("weightz")
    with pytest.raises(BrokenInput, match="digest is wrong"):
        read_artifact(artifact.path)
    mended, cached = store.get_or_make("k", maker)
    assert (cached, maker.calls, mended.digest) == (False, 2, artifact.digest)


def test_a_missing_file_and_a_broken_record_are_found(tmp_path: Path) -> None:
    artifact, _ = ArtifactStore(tmp_path).get_or_make("k", Maker())
    (artifact.path / "sub" / "model.bin").unlink()
    with pytest.raises(BrokenInput, match="missing"):
        read_artifact(artifact.path)
    for text in ("", "{}", "[]", '{"schema": 9, "files": {}, "artifact": {}}'):
        (artifact.path / RECORD).write_text(text)
        with pytest.raises(BrokenInput):
            read_artifact(artifact.path)


def test_a_failed_making_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Artifact:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        ArtifactStore(tmp_path).get_or_make("k", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["k.lock"]


def test_what_a_killed_making_has_left_is_removed(tmp_path: Path) -> None:
    leftover, other = tmp_path / ".k.abcdefgh", tmp_path / ".other.abcdefgh"
    for folder in (leftover, other):
        folder.mkdir()
        (folder / "half").write_text("x")
    ArtifactStore(tmp_path).get_or_make("k", Maker())
    assert not leftover.exists()
    assert other.exists()


def test_a_damaged_artifact_is_put_aside(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert not store.intact("k")
    artifact, _ = store.get_or_make("k", Maker())
    assert store.intact("k")
    (artifact.path / "sub" / "model.bin").write_text("weightz")
    assert not store.intact("k")
    assert not artifact.path.exists()
