"""The folder of artifacts: content-addressed, written whole, verified by digest when opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput
from weightcut.files import file_digest, folder_files, locked, remove_drafts, whole_folder
from weightcut.records import Artifact, digest

RECORD = "artifact.json"
SCHEMA = 1


class ArtifactStore:
    """Artifacts by key: the digest of everything that went into making one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get_or_make(
        self,
        key: str,
        make: Callable[[Path], Artifact],
        say: Callable[[str], None] = lambda _phrase: None,
    ) -> tuple[Artifact, bool]:
        """Return the artifact of that key and whether it was there already.

        `make(folder)` writes the files and returns the artifact without digest and bytes.
        A stored artifact that fails verification is made again. Two processes that want the same
        one at once make it once; `say` is told of the waiting.
        """
        folder = self.root / key
        if (folder / RECORD).is_file():
            # What is there is whole and needs no lock, so that a read-only cache serves.
            with suppress(BrokenInput, FileNotFoundError):
                return read_artifact(folder), True
        with locked(self.root / f"{key}.lock", say):
            if found := self._read(key):
                return found, True
            remove_drafts(folder)
            with whole_folder(folder) as draft:
                made = make(draft)
                seal(draft, made)
            return read_artifact(folder, verify=False), False

    def intact(self, key: str) -> bool:
        """Return whether the artifact of that key is there, whole; a damaged one is put aside."""
        with locked(self.root / f"{key}.lock"):
            return self._read(key) is not None

    def _read(self, key: str) -> Artifact | None:
        folder = self.root / key
        if not folder.is_dir():
            return None
        try:
            return read_artifact(folder)
        except BrokenInput:
            folder.rename(self.root / f".broken-{key}-{_free(self.root, key)}")
            return None


def seal(folder: Path, artifact: Artifact) -> None:
    """Write the artifact's record with the digest of every file beside the files."""
    files = {
        str(p.relative_to(folder)): _entry(p) for p in folder_files(folder) if p.name != RECORD
    }
    record = {
        "schema": SCHEMA,
        "files": files,
        "artifact": artifact.model_dump(mode="json", exclude={"path", "digest", "bytes"}),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))


def read_artifact(folder: Path, verify: bool = True) -> Artifact:
    """Return the artifact in a folder; raises BrokenInput where a file is missing or changed."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
        schema, files, facts = record["schema"], record["files"], record["artifact"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenInput(
            f"the artifact's record is unreadable ({error})", place=str(path)
        ) from error
    if schema != SCHEMA:
        raise BrokenInput(
            f"the artifact has schema {schema!r}, this weightcut reads {SCHEMA}", place=str(path)
        )
    if verify:
        _verify(folder, files)
    return Artifact(
        path=folder,
        digest=digest(files),
        bytes=sum(entry["bytes"] for entry in files.values()),
        **facts,
    )


def _verify(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BrokenInput("a file of the artifact is missing", place=str(path), cure=_CURE)
        if path.stat().st_size != expected["bytes"] or file_digest(path) != expected["sha256"]:
            raise BrokenInput("the file's digest is wrong", place=str(path), cure=_CURE)


_CURE = "make it again; a study that is run again does so by itself"


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def _free(root: Path, key: str) -> int:
    return sum(1 for _ in root.glob(f".broken-{key}-*"))
