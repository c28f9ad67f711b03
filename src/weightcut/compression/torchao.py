"""What the methods by torchao share: eight-bit weights written as an ordinary folder."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import save_causal_lm
from weightcut.compression.hf_source import check_source, linear_layers
from weightcut.compression.method import Context, Requirements
from weightcut.models.causal_lm import empty_causal_lm, load_causal_lm


def requirements(disk_per_weight: float) -> Requirements:
    """Return the 16-bit model once, and its quantized copy."""
    return Requirements(
        packages=("torchao", "torch", "transformers"),
        extra="compress",
        memory_per_weight=3.5,
        base_memory=700_000_000,
        seconds_per_weight=2e-8,
        base_seconds=12.0,
        disk_per_weight=disk_per_weight,
    )


def compress(source: Path, out: Path, context: Context, config: Any) -> None:
    """Quantize while loading by one of torchao's configs, and write a safetensors folder."""
    from transformers import TorchAoConfig

    check_source(source)
    layers = linear_layers(empty_causal_lm(source))
    context.progress("quantizing while loading", 0.0)
    with quiet():
        model = load_causal_lm(source, "bfloat16", quantization=TorchAoConfig(config))
        context.progress("writing", 0.8)
        save_causal_lm(model, source, out)
    context.record.update(quantized_layers=len(layers), bytes_by_part=bytes_by_part(out))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torchao's notes on kernels that this machine lacks, and on its own future, to itself."""
    logger = logging.getLogger("torchao")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"torchao\..*")
            yield
    finally:
        logger.setLevel(level)
