"""What the methods by llmcompressor share: calibrate on windows of text, write what it made."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import quiet_transformers, save_causal_lm
from weightcut.compression.hf_source import calibration_length, told
from weightcut.compression.method import CALIBRATION, CalibrationText, Context, Requirements
from weightcut.errors import NotHere, missing_extra
from weightcut.records import TokenBlocks

SMALLEST_GROUP = 16
PACKAGES = ("llmcompressor", "compressed_tensors", "torch", "transformers")


def requirements(
    tokens: int,
    passes: float,
    seconds_per_weight: float,
    disk_per_weight: float,
    memory_per_weight: float = 3.0,
    window: int = 0,
) -> Requirements:
    """Return what a run over calibration text needs.

    tokens: of the calibration text. passes: forward passes that the work on it is worth.
    seconds_per_weight: of work that does not grow with the text. window: tokens of one window.
    """
    return Requirements(
        packages=PACKAGES,
        extra="compress",
        memory_per_weight=memory_per_weight,
        base_memory=700_000_000 + 20_000 * tokens,
        seconds_per_weight=seconds_per_weight + 5e-12 * tokens * passes,
        base_seconds=15.0,
        disk_per_weight=disk_per_weight,
        tokens=tokens,
        window=window,
        passes=passes,
    )


def windows(
    model: Any, context: Context, count: int, length: int, text: CalibrationText
) -> TokenBlocks:
    """Return the calibration windows, and note in the record which they are."""
    blocks = context.texts(CALIBRATION[text], count, calibration_length(model, length))
    context.record["calibration"] = told(blocks)
    return blocks


def one_shot(model: Any, modifiers: Sequence[Any], blocks: TokenBlocks) -> None:
    """Let llmcompressor's modifiers work on the model, in place.

    NotHere where it does not know its way through this family of models.
    """
    with quiet():
        import torch
        from llmcompressor import oneshot
        from llmcompressor.core import reset_session

        rows = [{"input_ids": torch.from_numpy(ids)} for ids in blocks.ids]
        try:
            with _without_pinned_memory():
                oneshot(
                    model=model,
                    recipe=list(modifiers),
                    dataset=torch.utils.data.DataLoader(rows, batch_size=1),
                    num_calibration_samples=len(rows),
                    processor=_NoProcessor(),
                )
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise NotHere(
                f"llmcompressor cannot do this to a {model.config.model_type} model: {error}",
                cure="rtn, bnb-nf4, bnb-int8 and magnitude need no way through the model; gptq "
                "needs less of one than awq and smoothquant",
            ) from error
        finally:
            reset_session()
            # llmcompressor's own way of saving writes the source's config over the model's.
            vars(model).pop("save_pretrained", None)


def save_quantized(model: Any, source: Path, out: Path, context: Context) -> None:
    """Write the model with its weights packed, in the format of compressed-tensors."""
    with quiet(), quiet_transformers():
        from compressed_tensors import ModelCompressor

        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        save_causal_lm(model, source, out)
        compressor.update_config(out)
    context.record["bytes_by_part"] = bytes_by_part(out)


def schemes(groups: Mapping[str, int], left: Sequence[str], **weights: Any) -> dict[str, Any]:
    """Return compressed-tensors' config groups: for each group size the layers that have it.

    left: layers that no group size divides; each of their rows has one scale. weights: the
    other settings of the weights.
    """
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    by_size: dict[int, list[str]] = {}
    for name, size in groups.items():
        by_size.setdefault(size, []).append(name)
    found = {}
    for size, names in by_size.items():
        args = QuantizationArgs(**weights, strategy="group", group_size=size)
        found[f"group_{size}"] = QuantizationScheme(targets=names, weights=args)
    if left:
        args = QuantizationArgs(**weights, strategy="channel")
        found["rows"] = QuantizationScheme(targets=list(left), weights=args)
    return found


def by_kind(groups: Mapping[str, int], left: Sequence[str], bits: int) -> dict[str, list[str]]:
    """Return the layers by what their weights became: `int4 group 64`, `int4` (a scale a row)."""
    found: dict[str, list[str]] = {}
    for name, size in groups.items():
        found.setdefault(f"int{bits} group {size}", []).append(name)
    return found | ({f"int{bits}": list(left)} if left else {})


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep llmcompressor's log, bars and warnings off the terminal; its errors still show.

    NotHere where it is not installed.
    """
    # Read when they are imported: both write to stdout, and llmcompressor fails where disabled.
    os.environ.setdefault("LLM_COMPRESSOR_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("COMPRESSED_TENSORS_LOG_DISABLED", "true")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import llmcompressor
        except ImportError as error:
            raise missing_extra("llmcompressor", "compress") from error
        llmcompressor.logger.disable("llmcompressor")  # where it was imported before
        yield


@contextlib.contextmanager
def _without_pinned_memory() -> Iterator[None]:
    """Leave activations in ordinary memory where there is no accelerator to pin them for."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    original = IntermediatesCache.pin_memory
    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_, **__: None
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = original


class _NoProcessor:
    """Stands for the tokenizer that llmcompressor would load: the windows are ids already."""
