"""Models of the Hugging Face hub, always at one commit."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from weightcut.errors import NotHere, UsageError

_NAME = r"[A-Za-z0-9](?:[._-]?\w)*"
_REFERENCE = re.compile(rf"hub:({_NAME}/{_NAME})(?:@([\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Weights in safetensors and what describes them; never pickles, never code.
_WANTED = ("*.json", "*.jinja", "*.safetensors")
_TIMEOUT = 15.0  # seconds
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class HubReference:
    """A repository and a revision: a commit, a branch, a tag, or none."""

    repository: str
    revision: str | None

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        return f"hub:{self.repository}" + (f"@{self.revision}" if self.revision else "")


def parse(reference: str) -> HubReference:
    """Return the parts of `hub:org/name@revision`; UsageError for anything else."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UsageError(f"{reference!r} is not of the form hub:org/name@revision")
    return HubReference(match[1], match[2])


def pin(reference: HubReference) -> tuple[HubReference, int]:
    """Ask the hub which commit a reference means; return it with the bytes of what is wanted."""
    from fnmatch import fnmatch

    huggingface_hub = _library(reference)

    def ask() -> tuple[HubReference, int]:
        info = huggingface_hub.HfApi().model_info(
            reference.repository,
            revision=reference.revision,
            files_metadata=True,
            timeout=_TIMEOUT,
        )
        sizes = (
            entry.size or 0
            for entry in info.siblings or ()
            if "/" not in entry.rfilename and any(fnmatch(entry.rfilename, w) for w in _WANTED)
        )
        return HubReference(reference.repository, info.sha), sum(sizes)

    return _asked(reference, ask)


def download(reference: HubReference, folder: Path) -> None:
    """Fetch the wanted files of a pinned reference into `folder`."""
    huggingface_hub = _library(reference)

    def fetch() -> None:
        huggingface_hub.snapshot_download(
            reference.repository,
            revision=reference.revision,
            local_dir=folder,
            allow_patterns=list(_WANTED),
            ignore_patterns=["*/*"],
        )

    _asked(reference, fetch)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def download_dataset(reference: HubReference, folder: Path, wanted: Sequence[str]) -> None:
    """Fetch the files of a pinned data set whose names match `wanted` into `folder`."""
    huggingface_hub = _library(reference)

    def fetch() -> None:
        huggingface_hub.snapshot_download(
            reference.repository,
            repo_type="dataset",
            revision=reference.revision,
            local_dir=folder,
            allow_patterns=list(wanted),
        )

    _asked(reference, fetch)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def dataset_files(reference: HubReference, endings: Sequence[str], most_bytes: int) -> list[Path]:
    """Return the files of a pinned data set that end so, in order of name.

    Those in the hub's own cache, else those fetched into it: of a large set the first ones, of
    `most_bytes` together, and where some are named for training those alone.
    """
    if not reference.pinned:
        raise UsageError(
            "a data set of the hub is named with the commit, so that it is the same everywhere",
            place=str(reference),
            cure="write hub:org/name@ and the 40 digits of the commit",
        )
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    of: dict[str, Any] = {"repo_type": "dataset", "revision": reference.revision}

    def chosen(names: list[str]) -> list[str]:
        fitting = sorted(name for name in names if name.lower().endswith(tuple(endings)))
        return [name for name in fitting if "train" in name.lower()] or fitting

    def inside(folder: Path) -> list[Path]:
        there = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        return [folder / name for name in chosen(there)]

    with suppress(LocalEntryNotFoundError):
        folder = huggingface_hub.snapshot_download(
            reference.repository, local_files_only=True, **of
        )
        if found := inside(Path(folder)):
            return found
    library = _library(reference)

    def fetch() -> list[Path]:
        info = library.HfApi().dataset_info(
            reference.repository,
            revision=reference.revision,
            files_metadata=True,
            timeout=_TIMEOUT,
        )
        sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
        wanted, total = list[str](), 0
        for name in chosen(list(sizes)):
            total += sizes[name]
            if wanted and total > most_bytes:
                break
            wanted.append(name)
        folder = library.snapshot_download(reference.repository, allow_patterns=wanted, **of)
        return inside(Path(folder)) if wanted else []

    return _asked(reference, fetch)


def _asked(reference: HubReference, action: Callable[[], _Answer]) -> _Answer:
    import httpx
    from huggingface_hub import errors

    try:
        return action()
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise UsageError(
            "the hub has no such repository, or it is closed to you",
            place=str(reference),
            cure="check the name, or log in with `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError("the repository has no such revision", place=str(reference)) from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, httpx.HTTPError) as error:
        said = str(error).strip().splitlines()
        raise NotHere(
            f"the Hugging Face hub cannot be reached ({said[0] if said else type(error).__name__})",
            place=str(reference),
            cure="copy the folder here and name it instead",
        ) from error


def _library(reference: HubReference) -> Any:
    """Return the hub's library; it reports to nobody, and nothing is asked when offline."""
    for name in ("WEIGHTCUT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "") not in ("", "0"):
            raise NotHere(
                f"it is not in the cache and {name} is set",
                place=str(reference),
                cure="copy the folder here and name it instead",
            )
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    return huggingface_hub
