"""4- or 8-bit weights by plain rounding, tensor after tensor, for models larger than the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression import llm_compressor
from weightcut.compression.files import bytes_by_part, copy_companions, part_of
from weightcut.compression.groups import group_sizes
from weightcut.compression.hf_source import check_finite, check_unquantized, linear_layers
from weightcut.compression.method import Context, Requirements
from weightcut.compression.shards import ShardWriter, read_tensors
from weightcut.errors import NotHere
from weightcut.models.causal_lm import empty_causal_lm, is_known, read_config
from weightcut.models.folder import weights
from weightcut.records import Format, Record


class RTN(Record):
    """Round the weights of every linear layer but the head to the nearest of 16 or 256 levels.

    It needs no data and no more memory than the largest tensor and one shard of 500 MB. Weights
    share a scale in groups; a layer whose inputs the group size does not divide gets the largest
    half, quarter ... of it that does, down to 16, else one scale for each row; the record tells
    which. Activations, embeddings and norms stay in 16 bit. A type of model that transformers
    does not know is rounded too: then all matrices of its numbered layers are. Written in the
    format of compressed-tensors. Source: the baseline of GPTQ, arXiv:2210.17323, section 5.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    paper: ClassVar[str] = "arXiv:2210.17323"

    kind: Literal["rtn"] = "rtn"
    bits: Literal[4, 8] = Field(4, description="bits of a weight")
    group_size: int = Field(128, ge=16, description="weights that share a scale")
    symmetric: bool = Field(True, description="levels symmetric about zero; else with zero points")

    def requirements(self) -> Requirements:
        """Return what little it needs: it grows with the largest tensor, not with the model."""
        return Requirements(
            packages=llm_compressor.PACKAGES,
            extra="compress",
            memory_per_weight=0.3,
            base_memory=900_000_000,
            seconds_per_weight=3e-8,
            base_seconds=15.0,
            disk_per_weight=0.5 + self.bits / 8,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Read, check, round and write one tensor after the other."""
        check_unquantized(source)
        layers = _layers(source)
        groups, left = group_sizes(layers, self.group_size, llm_compressor.SMALLEST_GROUP)
        with llm_compressor.quiet():
            schemes = llm_compressor.schemes(
                groups, left, num_bits=self.bits, type="int", symmetric=self.symmetric
            )
        scheme_of = {name: scheme for scheme in schemes.values() for name in scheme.targets}
        writer, count = ShardWriter(out), len(scheme_of)
        for name, tensor in read_tensors(source):
            check_finite(name, tensor, source)
            scheme = scheme_of.pop(name.removesuffix(".weight"), None)
            parts = {name: tensor} if scheme is None else _rounded(name, tensor, scheme)
            for part, value in parts.items():
                writer.add(part, value)
            context.progress("rounding layer after layer", 1 - len(scheme_of) / count)
        writer.close()
        if scheme_of:
            raise NotHere(
                f"the weights of {next(iter(scheme_of))!r} are stored under another name than the "
                "model's code gives them",
                place=str(source),
                cure="load the model with transformers, save it again, and round that",
            )
        _write_config(source, out, schemes)
        copy_companions(source, out)
        context.record["weights"] = llm_compressor.by_kind(groups, left, self.bits)
        context.record["bytes_by_part"] = bytes_by_part(out)


class _Shape:
    def __init__(self, inputs: int) -> None:
        self.in_features = inputs


def _layers(source: Path) -> dict[str, Any]:
    """Return the layers to round by name, with their `in_features`."""
    if is_known(read_config(source)):
        return linear_layers(empty_causal_lm(source))
    found = {
        name.removesuffix(".weight"): _Shape(info.shape[1])
        for name, info in weights(source).items()
        if len(info.shape) == 2 and name.endswith(".weight") and part_of(name) == "layers"
    }
    if not found:
        raise NotHere("no weight is named like a numbered layer's matrix", place=str(source))
    return found


def _rounded(name: str, tensor: Any, scheme: Any) -> dict[str, Any]:
    """Return the packed parts of a weight by name."""
    with llm_compressor.quiet():
        from compressed_tensors.compressors import compress_module
        from llmcompressor.entrypoints.model_free import lifecycle

        module = lifecycle.initialize_quantized_linear(tensor, scheme, "cpu")
        lifecycle.calibrate_weight(module)
        compress_module(module)
    found: dict[str, Any] = module.state_dict(prefix=name.removesuffix("weight"))
    return found


def _write_config(source: Path, out: Path, schemes: dict[str, Any]) -> None:
    """Write config.json with what compressed-tensors must know to unpack the weights."""
    import compressed_tensors
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus

    formats = {scheme.format for scheme in schemes.values()}
    config = QuantizationConfig(
        config_groups=schemes,
        quantization_status=QuantizationStatus.COMPRESSED,
        format=formats.pop() if len(formats) == 1 else "mixed-precision",
        ignore=[],
    )
    quantization = {
        "version": compressed_tensors.__version__,
        "quant_method": "compressed-tensors",
        **config.model_dump(mode="json"),
    }
    whole = read_config(source) | {"quantization_config": quantization}
    (out / "config.json").write_text(json.dumps(whole, indent=2))
