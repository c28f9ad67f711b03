"""Quantize the weights of an OpenVINO model with NNCF, and tell what came of each layer."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from weightcut.compression.method import Requirements
from weightcut.compression.openvino_files import WEIGHTS, copy_beside, read_graph, save_graph
from weightcut.errors import NotHere
from weightcut.records import TokenBlocks
from weightcut.settings import silence_telemetry

SMALLEST_GROUP = 32
_NAMES = {
    "i4": "int4", "u4": "int4", "i8": "int8", "u8": "int8", "i2": "int2", "u2": "int2",
    "nf4": "nf4", "f4e2m1": "fp4", "f8e4m3": "fp8",
}  # fmt: skip
_WIDE = ("f16", "bf16", "f32")


def requirements(
    seconds_per_weight: float, base_seconds: float, tokens: int = 0, outer_bits: float = 8
) -> Requirements:
    """Return what compressing with NNCF needs; tokens: of the calibration text."""
    return Requirements(
        packages=("openvino", "nncf"),
        memory_per_weight=6.0,
        base_memory=700_000_000,
        seconds_per_weight=seconds_per_weight,
        base_seconds=base_seconds,
        disk_per_weight=1.2,
        tokens=tokens,
        outer_bits=outer_bits,
    )


def compress_weights(source: Path, out: Path, record: dict[str, Any], **settings: Any) -> None:
    """Read the model in `source`, quantize its weights as NNCF's `settings` say, write it to `out`.

    settings: arguments of `nncf.compress_weights` by name; enumerations by their values, `blocks`
    for the calibration windows. record: is told what each layer's weights became.
    """
    silence_telemetry()
    import nncf

    graph = read_graph(source)
    blocks: TokenBlocks | None = settings.pop("blocks", None)
    names = {name for port in graph.inputs for name in port.names}
    if blocks is not None:
        settings["dataset"] = nncf.Dataset([_inputs(names, ids) for ids in blocks.ids])
        settings["subset_size"] = len(blocks.ids)
    settings["mode"] = nncf.CompressWeightsMode(settings["mode"])
    with _quiet():
        try:
            graph = nncf.compress_weights(graph, **settings)
        except _refusals() as error:
            raise NotHere(f"NNCF cannot compress this model: {error}") from error
        save_graph(graph, out)
    copy_beside(source, out)
    record["weights"] = weights_by_kind(graph)
    record["weights_bytes"] = (out / WEIGHTS).stat().st_size
    if blocks is not None:
        record["calibration"] = {"windows": len(blocks.ids), "digest": blocks.digest}


def _refusals() -> tuple[type[Exception], ...]:
    """Return what NNCF raises: its own exceptions have no base of their own."""
    from nncf import errors

    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return (RuntimeError, ValueError, *(one for one in found if issubclass(one, Exception)))


def group_size_fallback(group_size: int) -> dict[str, Any]:
    """Return the settings that give each layer the largest group, halved until it divides.

    Starts at `group_size`, goes down to SMALLEST_GROUP; a layer that none divides is kept in int8.
    """
    import nncf

    return {
        "group_size": group_size,
        "advanced_parameters": nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST,
            min_adjusted_group_size=min(SMALLEST_GROUP, group_size),
        ),
    }


def weights_by_kind(graph: Any) -> dict[str, list[str]]:
    """Return the layers by what their weights are: `int4 group 64`, `int8`, `bf16`.

    Without a group, one scale is shared by all weights of an output channel.
    """
    found: dict[str, set[str]] = {}
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Constant" and (label := _label(node)):
            found.setdefault(label, set()).update(_users(node))
    return {label: sorted(names, key=_natural) for label, names in sorted(found.items()) if names}


def _label(constant: Any) -> str:
    """Return what kind of weight matrix a constant is, "" where it is none."""
    shape = list(constant.get_output_shape(0))
    kind = str(constant.get_output_element_type(0).get_type_name())
    if sum(size > 1 for size in shape) < 2:
        return ""
    if kind in _WIDE:
        return "" if _is_scale(constant) else kind
    node = constant
    while (name := _NAMES.get(kind)) and (ports := node.output(0).get_target_inputs()):
        port = next(iter(ports))
        node = port.get_node()
        if node.get_type_name() in ("Subtract", "Multiply") and port.get_index() == 1:
            return ""  # a zero point or a scale
        if node.get_type_name() == "Multiply":
            scales = list(node.get_input_shape(1))
            (size,) = (n for n, m in zip(shape, scales, strict=True) if n != m)
            return f"{name} group {size}" if len(shape) > 2 else name
        if node.get_type_name() not in ("Convert", "Subtract"):
            break
    return ""


def _is_scale(constant: Any) -> bool:
    """Return whether all that a constant of 16 or 32 bit does is to scale a quantized weight."""
    node = constant
    while ports := node.output(0).get_target_inputs():
        port = next(iter(ports))
        node = port.get_node()
        if node.get_type_name() == "Multiply":
            return bool(port.get_index() == 1)
        if node.get_type_name() != "Convert":
            break
    return False


def _users(constant: Any) -> Iterator[str]:
    """Yield the names of the layers that a constant reaches as their weight."""
    front, seen = [constant], set()
    while front:
        node = front.pop()
        for port in node.output(0).get_target_inputs():
            user = port.get_node()
            if user.get_friendly_name() in seen:
                continue
            seen.add(user.get_friendly_name())
            if user.get_type_name() in ("MatMul", "Gather"):
                yield _layer_name(user.get_friendly_name())
            elif user.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape"):
                front.append(user)


def _layer_name(node: str) -> str:
    """Return `layers.0.self_attn.q_proj` of a traced node's name."""
    if not node.startswith("__module."):
        return "output"  # the node that gives the logits has the name of the graph's output
    name = node.split("/")[0].removeprefix("__module.")
    for prefix in ("model.model.", "model.transformer.", "model."):
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in name.split(".")]


def _inputs(names: set[str], ids: Any) -> dict[str, Any]:
    """Return the model's inputs for one window of token ids."""
    length = len(ids)
    everything = {
        "input_ids": ids[None],
        "attention_mask": np.ones((1, length), np.int64),
        "position_ids": np.arange(length, dtype=np.int64)[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    return {name: value for name, value in everything.items() if name in names}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's tables and progress bars off the terminal."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
