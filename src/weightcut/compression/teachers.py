"""The teacher of a distillation: beside the student, or as what is kept of its predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weightcut.compression.distillation_loss import Kept
from weightcut.compression.hf_io import load_causal_lm, read_config
from weightcut.compression.teacher_cache import Predictions, predictions
from weightcut.compression.training import Windows, device
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.digest import folder_digest


class Teacher(Protocol):
    """What a student is compared with: logits [windows, length, vocabulary], or what is kept."""

    def training(self, batch: Mapping[str, Any]) -> Any:
        """Return the predictions on a batch of training windows."""
        ...

    def held_out(self, index: int, ids: Any) -> Any:
        """Return the predictions on one held-out window, ids [1, length]."""
        ...


class KeptTeacher:
    """Predictions from disk; the teacher itself is loaded only where they are not there yet."""

    def __init__(self, training: Predictions, held_out: Predictions) -> None:
        self._training, self._held_out = training, held_out

    def training(self, batch: Mapping[str, Any]) -> Kept:
        """Return what is kept for the batch's windows."""
        return self._training.rows(batch["index"])

    def held_out(self, index: int, ids: Any) -> Kept:
        """Return what is kept for the window of that index."""
        import torch

        return self._held_out.rows(torch.tensor([index], device=ids.device))


class LiveTeacher:
    """The teacher as a model in memory."""

    def __init__(self, folder: Path, width: int) -> None:
        self.model: Any = load_causal_lm(folder).requires_grad_(False).to(device())
        self._width = width

    def training(self, batch: Mapping[str, Any]) -> Any:
        """Return the logits on the batch."""
        return self._logits(batch["input_ids"])

    def held_out(self, index: int, ids: Any) -> Any:  # noqa: ARG002 - the kept ones need it
        """Return the logits on the window."""
        return self._logits(ids)

    def hidden_states(self, ids: Any) -> Any:
        """Return the outputs of embedding and layers, [windows, length, width] each."""
        import torch

        with torch.no_grad():
            return self.model(
                input_ids=ids, use_cache=False, output_hidden_states=True
            ).hidden_states

    def _logits(self, ids: Any) -> Any:
        import torch

        with torch.no_grad():
            return self.model(input_ids=ids, use_cache=False).logits[..., : self._width]


def kept_teacher(
    folder: Path,
    place: Path,
    text: Windows,
    top_k: int,
    temperature: float,
    width: int,
    progress: Callable[[str, float | None], None],
) -> tuple[KeptTeacher, int]:
    """Return the teacher's kept predictions on the text, and how many windows it had to predict.

    place: the folder of kept predictions. width: ids that teacher and student share. Held-out
    windows are kept at temperature 1.
    """
    loaded: list[LiveTeacher] = []

    def logits(ids: npt.NDArray[np.int64]) -> Any:
        import torch

        if not loaded:
            loaded.append(LiveTeacher(folder, width))
        return loaded[0].held_out(0, torch.from_numpy(ids)[None].to(device()))[0]

    named = f"{folder_digest(folder)} {width}"
    parts, passes = [], 0
    for blocks, softened in ((text.training, temperature), (text.held_out, 1.0)):
        kept = min(top_k, width - 1)
        found, reused = predictions(place, named, blocks, kept, softened, logits, progress)
        parts.append(found)
        passes += 0 if reused else len(blocks.ids)
    return KeptTeacher(*parts), passes


def shared_width(student: Path, teacher: Path) -> int:
    """Return how many ids both models give logits for: tables may be padded differently."""
    return min(_width(read_config(folder), folder) for folder in (student, teacher))


def require_same_tokenizer(student: Path, teacher: Path) -> None:
    """Refuse a teacher whose token ids mean other texts than the student's (UsageError)."""
    ours, theirs = (_tokenizer(folder) for folder in (student, teacher))
    words = _vocabulary(ours, student), _vocabulary(theirs, teacher)
    said = _difference(*words) or next(
        (f"their {part} differs" for part in _PARTS if ours.get(part) != theirs.get(part)), ""
    )
    if not said and _merges(ours) != _merges(theirs):
        said = "their merges differ"
    if said:
        raise UsageError(
            f"teacher and student have different tokenizers: {said}",
            place=str(teacher),
            cure="take a teacher of the same family",
        )


# What beside the vocabulary decides how a text becomes tokens.
_PARTS = ("normalizer", "pre_tokenizer")


def _difference(ours: dict[str, int], theirs: dict[str, int]) -> str:
    if ours == theirs:
        return ""
    shared = len(ours.items() & theirs.items())
    said = f"{len(theirs)} and {len(ours)} entries, {shared} shared"
    token = min(
        (t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t)),
        key=lambda t: (min(ours.get(t, 1 << 40), theirs.get(t, 1 << 40)), t),
    )
    places = [_place(table.get(token)) for table in (theirs, ours)]
    return f"{said}; first {token!r}, {places[0]} in the teacher's and {places[1]} in the student's"


def _place(number: int | None) -> str:
    return "absent" if number is None else str(number)


def _tokenizer(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenInput(f"cannot be read as a tokenizer: {error}", place=str(path)) from error
    if not isinstance(found, dict):
        raise BrokenInput("cannot be read as a tokenizer: no JSON object", place=str(path))
    return found


def _merges(data: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the merges of a BPE model, which older files write as `a b` and newer as two texts."""
    found = data["model"].get("merges") or []
    return [tuple(one.split(" ", 1) if isinstance(one, str) else one) for one in found]


def _vocabulary(data: dict[str, Any], folder: Path) -> dict[str, int]:
    """Return every token of tokenizer.json with its id, special ones included."""
    try:
        table = data["model"]["vocab"]
        pairs = (
            table.items() if isinstance(table, dict) else ((t, i) for i, (t, _) in enumerate(table))
        )
        return {**dict(pairs), **{t["content"]: t["id"] for t in data.get("added_tokens", [])}}
    except (ValueError, KeyError, TypeError) as error:
        place = str(folder / "tokenizer.json")
        raise BrokenInput(f"cannot be read as a tokenizer: {error!r}", place=place) from error


def _width(config: Mapping[str, Any], folder: Path) -> int:
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(part.get("vocab_size"), int):
            return int(part["vocab_size"])
    raise BrokenInput("names no vocab_size", place=str(folder / "config.json"))
