"""Load Hugging Face causal language models safely, with errors that say what is wrong."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from io import StringIO
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

from weightcut.errors import BrokenInput, NotHere, WeightcutError


def load_causal_lm(
    folder: Path, dtype: str = "auto", *, device: str = "cpu", quantization: Any = None
) -> Any:
    """Return the model of a folder, in evaluation mode.

    dtype: "auto" keeps the stored type; else a torch type's name. quantization: a config of
    transformers by which the weights are quantized while they are loaded. Weights that are packed
    by compressed-tensors are unpacked, for which there is no kernel on CPUs. Only safetensors are
    read and no code that came with the model runs. BrokenInput where the folder holds no readable
    model, NotHere where a package that the model needs is not installed.
    """
    stored = _stored_quantization(folder)
    packed = stored == "compressed-tensors"
    # An explicit None would hide the quantization that a folder's own config tells of.
    options: dict[str, Any] = {} if quantization is None else {"quantization_config": quantization}
    placed = device != "cpu" or quantization is not None or stored is not None
    with quiet_transformers(), _hushed(packed), _told_plainly(folder):
        import torch
        from transformers import AutoModelForCausalLM, CompressedTensorsConfig

        if packed:
            options["quantization_config"] = CompressedTensorsConfig(dequantize=True)
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            device_map=device if placed else None,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
            **options,
        )
        if packed:
            _drop_idle_wrappers(model)
    if wrong := sorted(report["mismatched_keys"]):
        name, found, expected = wrong[0]
        raise BrokenInput(
            f"the tensor {name!r} has the shape {list(found)}, its config says {list(expected)}",
            place=str(folder),
        )
    if missing := sorted(report["missing_keys"]):
        raise BrokenInput(f"weights are missing: {', '.join(missing[:5])}", place=str(folder))
    return model.eval()


def empty_causal_lm(folder: Path, *, with_buffers: bool = False) -> Any:
    """Return the model that a folder's config describes, with no memory behind its weights.

    with_buffers: compute those buffers that are not weights (rotary frequencies) nevertheless.
    """
    with quiet_transformers(), _told_plainly(folder):
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with init_empty_weights(include_buffers=not with_buffers):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()


def is_known(config: Mapping[str, Any]) -> bool:
    """Return whether transformers has a causal language model of a config's type."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json as plain data; BrokenInput where it is absent or no JSON object."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenInput(f"cannot be read: {error}", place=str(path)) from error
    if not isinstance(config, dict):
        raise BrokenInput("is not a JSON object", place=str(path))
    return config


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the terminal; its errors still show.

    So too the notes of torchao and bitsandbytes on kernels that this machine lacks, which they
    write when they are imported.
    """
    for noisy in ("torchao", "torch.utils._pytree", "bitsandbytes"):
        getLogger(noisy).setLevel(ERROR)
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _stored_quantization(folder: Path) -> str | None:
    """Return the method by which the weights of a folder are quantized, None if they are not."""
    found = read_config(folder).get("quantization_config")
    if found is None:
        return None
    return str(found.get("quant_method")) if isinstance(found, dict) else "unknown"


def _drop_idle_wrappers(model: Any) -> None:
    """Let layers with quantized weights alone multiply directly, now that these are unpacked.

    Where activations are quantized too, compressed-tensors' forward does that and stays.
    """
    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is not None and scheme.input_activations is scheme.output_activations is None:
            vars(module).pop("forward", None)


@contextmanager
def _hushed(packed: bool) -> Iterator[None]:
    """Keep the progress bars of compressed-tensors, which has no switch for them, to itself."""
    with warnings.catch_warnings(), redirect_stderr(StringIO()) if packed else nullcontext():
        warnings.filterwarnings("ignore", "You passed `quantization_config`")  # it is meant so
        yield


@contextmanager
def _told_plainly(folder: Path) -> Iterator[None]:
    """Turn whatever a loader raises on bad files into one plain error; want of memory passes."""
    try:
        yield
    except (WeightcutError, MemoryError):
        raise
    except ImportError as error:
        raise NotHere(f"the model cannot be loaded: {error}", place=str(folder)) from error
    except Exception as error:  # there is no end to what broken files make loaders raise
        raise BrokenInput(
            f"the model cannot be loaded: {_line(error)}", place=str(folder)
        ) from error


def _line(error: BaseException) -> str:
    """Return an exception's message in one line of bearable length."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 400 else said[:400] + " ..."
