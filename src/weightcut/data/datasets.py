"""Benchmarks' data: a folder that a user names, or a data set of the hub at one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, UsageError
from weightcut.files import file_digest, folder_files, whole_folder, write_whole
from weightcut.records import no_text
from weightcut.settings import home

DIGESTS = ".digests.json"


def dataset_folder(place: str, wanted: Sequence[str], origin: str) -> Path:
    """Return the folder that a task's data lie in.

    place: a folder, or `hub:org/name@COMMIT` for a data set of the hub. wanted: name patterns of
    the files to fetch. origin: where the data come from, for the error where there is no folder.
    What the hub gave is kept, and verified by digest whenever it is read.
    """
    if place.startswith("hub:"):
        return _from_hub(place, wanted)
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise UsageError("there is no such folder", place=place, cure=f"the data are {origin}")
    return folder


def needed(folder: Path, name: str, origin: str) -> Path:
    """Return the file of that name; where it is missing the error says where it comes from."""
    path = folder / name
    if not path.is_file():
        raise UsageError(
            f"the folder lacks the file {name}", place=str(folder), cure=f"the data are {origin}"
        )
    return path


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text; BrokenInput names the file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BrokenInput(f"is no UTF-8 (byte {error.start})", place=str(path)) from error
    except OSError as error:
        raise BrokenInput(f"cannot be read: {error.strerror}", place=str(path)) from error


def read_jsonl(path: Path, texts: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and object of each line that is not blank.

    texts: keys that must be there and be texts. A broken line raises BrokenInput with its place.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = json.loads(line)
            halves = no_text(row)
        except (ValueError, RecursionError) as error:
            raise BrokenInput(f"is no JSON: {error}", place=place) from None
        if not isinstance(row, dict):
            raise BrokenInput("is no JSON object", place=place)
        if halves:
            raise BrokenInput(halves, place=place)
        for key in texts:
            if not isinstance(row.get(key), str):
                raise BrokenInput(f"lacks the text {key!r}", place=place)
        yield number, row


def _from_hub(place: str, wanted: Sequence[str]) -> Path:
    from weightcut.models.hub import download_dataset, parse

    reference = parse(place)
    if not reference.pinned:
        raise UsageError(
            "a data set of the hub is named with the commit, so that it is the same everywhere",
            place=place,
            cure="write hub:org/name@ and the 40 digits of the commit",
        )
    name = f"{reference.repository.replace('/', '--')}@{reference.revision}"
    folder = home() / "datasets" / name
    if not folder.is_dir():
        with whole_folder(folder) as draft:
            download_dataset(reference, draft, wanted)
            if not folder_files(draft):
                raise UsageError(
                    f"the data set has none of the files {', '.join(wanted)}", place=place
                )
            write_whole(draft / DIGESTS, json.dumps(_digests(draft), sort_keys=True).encode())
    try:
        known = json.loads((folder / DIGESTS).read_text())
    except (OSError, ValueError):
        known = None
    if known != _digests(folder):
        raise BrokenInput(
            "the stored data set is not what was downloaded",
            place=str(folder),
            cure="delete the folder; it is fetched anew",
        )
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in folder_files(folder)
        if path.name != DIGESTS
    }
