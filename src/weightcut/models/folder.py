"""A folder that claims to be a model, checked before anything is spent on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, UsageError
from weightcut.models import adapters, torch_state
from weightcut.models.companions import companions
from weightcut.models.digest import folder_bytes, folder_digest
from weightcut.models.safetensors import TensorInfo, read_header
from weightcut.models.scripted import ScriptedModel
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Checkpoint, Format

_GRAPH = "openvino_model.xml"
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def folder_checkpoint(
    folder: Path, reference: str, origin: str, notes: tuple[str, ...] = ()
) -> Checkpoint:
    """Return the checkpoint in a folder (`hf`, `peft`, `torch`, `openvino` ...), checked.

    The number of weights of a compressed OpenVINO model or state dict is not known: it is given
    as 0.

    Raises BrokenInput naming the file that is missing, incomplete or corrupt, and UsageError for a
    folder that holds something else than a model.
    """
    folder = folder.resolve()
    kind: Format = "hf"
    parameters = 0
    if (folder / "scripted.json").is_file():
        kind = "scripted"
        ScriptedModel.load(folder)
    elif (folder / _GRAPH).is_file():
        kind = "openvino"
        for name in ("openvino_model.bin", "config.json"):
            _present(folder, name)
        load_tokenizer(folder)
    elif torch_state.is_state_folder(folder):
        kind = "torch"
        parameters = _check_state(folder)
    elif adapters.is_adapter(folder):
        kind = "peft"
        parameters = _check(adapters.base_of(folder))
        _present(folder, adapters.WEIGHTS)
        load_tokenizer(folder)
    else:
        parameters = _check(folder)
    return Checkpoint(
        reference=reference,
        path=folder,
        format=kind,
        digest=folder_digest(folder),
        origin=origin,
        notes=notes,
        bytes=_model_bytes(folder) if kind == "hf" else folder_bytes(folder),
        parameters=parameters,
    )


def weights(folder: Path) -> dict[str, TensorInfo]:
    """Return every tensor of a folder's safetensors files, from their checked headers."""
    found: dict[str, TensorInfo] = {}
    for path in weight_files(folder):
        found |= read_header(path)
    if lost := sorted(_places(folder).keys() - found.keys()):
        raise BrokenInput(f"no shard holds the tensor {lost[0]!r}", place=str(folder / _INDEX))
    return found


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that make up the model: those of the index, or the single one.

    Others may lie beside them, such as the same weights in the maker's own format.
    """
    shards = sorted(set(_places(folder).values()))
    for shard in shards:
        if Path(shard).name != shard:
            raise BrokenInput(
                f"names the shard {shard!r} outside its folder", place=str(folder / _INDEX)
            )
    return [_present(folder, name) for name in shards or [_SINGLE]]


def _model_bytes(folder: Path) -> int:
    """Return the bytes of what a Hugging Face folder is opened from.

    The same weights in other formats may lie beside them.
    """
    named = [folder / name for name in ("config.json", _INDEX) if (folder / name).is_file()]
    return sum(p.stat().st_size for p in (*named, *weight_files(folder), *companions(folder)))


def _places(folder: Path) -> dict[str, str]:
    """Return which shard holds which tensor, as the index says; nothing where there is none."""
    index = folder / _INDEX
    if not index.is_file():
        return {}
    places = read_json(index).get("weight_map")
    good = isinstance(places, dict) and all(isinstance(v, str) for v in places.values())
    if not places or not good:
        raise BrokenInput("has no weight_map", place=str(index))
    return dict(places)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or raise BrokenInput."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BrokenInput(f"is not valid JSON: {error}", place=str(path)) from error
    if not isinstance(found, dict):
        raise BrokenInput("holds no JSON object", place=str(path))
    return found


def _check(folder: Path) -> int:
    """Check the parts of a Hugging Face folder; return its number of weights, tied ones once."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise UsageError(
            "is an adapter, not a model", place=str(folder), cure="name the folder of its base"
        )
    config = _config(folder)
    if not any((folder / name).is_file() for name in (_SINGLE, _INDEX)):
        _refuse_pickle(folder)
    tensors = weights(folder)
    if not tensors:
        raise BrokenInput("its safetensors files hold no tensor", place=str(folder))
    load_tokenizer(folder)
    total = sum(info.elements for info in tensors.values())
    head, embedding = (
        next((info for name, info in tensors.items() if name.endswith(ending)), None)
        for ending in ("lm_head.weight", "embed_tokens.weight")
    )
    tied = config.get("tie_word_embeddings", False)
    if tied and head and embedding and head.shape == embedding.shape:
        total -= head.elements
    return total


def _check_state(folder: Path) -> int:
    """Check a folder with a torch state dict, running nothing from it; return its weights' number.

    Tied ones are one tensor there.
    """
    config = _config(folder)
    state = torch_state.read_state(folder)
    load_tokenizer(folder)
    if config.get("quantization_config") is not None:
        return 0
    places = {
        (value.data_ptr(), value.shape): value.numel()
        for name, value in state.items()
        if not torch_state.is_computed(name)
    }
    return sum(places.values())


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(_present(folder, "config.json"))
    if not isinstance(config.get("model_type"), str):
        raise BrokenInput("names no model_type", place=str(folder / "config.json"))
    return config


def _present(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise BrokenInput(f"the folder lacks {name}", place=str(folder))
    return path


def _refuse_pickle(folder: Path) -> None:
    pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
    if pickles:
        raise UsageError(
            f"its weights are a pickle ({pickles[0]}), which can run code when it is read",
            place=str(folder),
            cure="save it as safetensors where you trust it: model.save_pretrained(FOLDER)",
        )
