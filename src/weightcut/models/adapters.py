"""Adapters kept beside the model that they were trained on: peft's files, and a folder `base`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, missing_extra
from weightcut.models.causal_lm import load_causal_lm, quiet_transformers
from weightcut.models.safetensors import read_header

BASE = "base"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter and its base."""
    return (folder / CONFIG).is_file() and base_of(folder).is_dir()


def base_of(folder: Path) -> Path:
    """Return the folder of the base model."""
    return folder / BASE


def load_adapted_lm(folder: Path, dtype: str, device: str) -> Any:
    """Return the base model with its adapter in place, in evaluation mode.

    Only safetensors are read, and the base is the one beside the adapter, whatever its config
    names. BrokenInput where the adapter is damaged or does not fit its base.
    """
    read_header(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else _lacks(folder)
    try:
        with quiet_transformers():
            from peft import PeftModel
    except ImportError as error:
        raise missing_extra("peft", "train") from error
    import torch

    base = load_causal_lm(base_of(folder), dtype, device=device)
    try:
        with quiet_transformers():
            model = PeftModel.from_pretrained(base, folder, local_files_only=True)
    except Exception as error:  # there is no end to what broken files make loaders raise
        said = " ".join(str(error).split())[:300]
        raise BrokenInput(
            f"the adapter cannot be put onto its base: {said}", place=str(folder)
        ) from error
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.to(getattr(torch, dtype))
    return model.eval()


def told(model: Any) -> str | None:
    """Return what a description says of a model's adapter, None where it has none."""
    config = getattr(model, "peft_config", {}).get("default")
    return None if config is None else f"{config.peft_type.value} of rank {config.r}, not merged"


def _lacks(folder: Path) -> None:
    raise BrokenInput(f"the folder lacks {WEIGHTS}", place=str(folder))
