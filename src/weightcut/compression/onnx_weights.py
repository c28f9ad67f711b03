"""Quantize the weights of an ONNX model to 4 or 8 bits in blocks, with ONNX Runtime's own tool."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression.method import Context, Requirements
from weightcut.compression.onnx_files import (
    PACKAGES,
    copy_beside,
    read_graph,
    save_graph,
    stored_bytes,
)
from weightcut.errors import UsageError
from weightcut.records import Format, Record

_INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level
_TOOL_SUFFIX = re.compile(r"_Q\d$")
_TABLE_BITS = 8  # of embedding and head, where the layers have fewer


class OnnxRounding(Record):
    """What onnx-int8 and onnx-int4 have in common: settings of blocks, and the operator's paper."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"onnx"})
    produces: ClassVar[Format] = "onnx"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    bits: ClassVar[int]
    paper: ClassVar[str] = (
        "https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md"
    )

    block_size: Literal[16, 32, 64, 128, 256] = Field(
        32, description="weights of an output channel that share a scale"
    )
    symmetric: bool = Field(False, description="levels symmetric about zero; else with zero points")
    int8_activations: bool = Field(
        True, description="multiply with activations rounded to 8 bit in blocks, which is faster"
    )

    def requirements(self) -> Requirements:
        """Return what ONNX Runtime's quantizer needs."""
        return requirements(self.bits)

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Write the model with its weights rounded."""
        quantize(
            source,
            out,
            context,
            self.bits,
            self.block_size,
            self.symmetric,
            self.int8_activations,
        )


def requirements(bits: int) -> Requirements:
    """Return what it needs: the graph in 32 bit, and its quantized form."""
    return Requirements(
        packages=PACKAGES,
        extra="onnx",
        memory_per_weight=10.0,
        base_memory=500_000_000,
        seconds_per_weight=3e-8,
        base_seconds=4.0,
        disk_per_weight=bits / 8 + 0.2,
    )


def quantize(
    source: Path, out: Path, context: Context, bits: int, block: int, symmetric: bool, fast: bool
) -> None:
    """Write the model of `source` to `out` with its matrices in `bits`, in blocks of weights.

    Embedding and head are kept in 8 bit. fast: multiply with activations rounded to 8 bit.
    """
    graph = read_graph(source)
    if any(node.op_type == "MatMulNBits" for node in graph.graph.node):
        raise UsageError("the weights are quantized already", place=str(source))
    if not any(node.op_type == "GroupQueryAttention" for node in graph.graph.node):
        raise UsageError(
            "it is no language model's graph of the kind that export-onnx writes", place=str(source)
        )
    own_embedding(graph.graph)
    heads = [
        node.name for node in graph.graph.node if node.op_type == "MatMul" and _is_head(node.name)
    ]
    context.progress(f"rounding weights to {bits} bit", None)
    level = _INT8_ACTIVATIONS if fast else 0
    graph = _rounded(graph, bits, block, symmetric, level, exclude=heads)
    graph = _rounded(graph, _TABLE_BITS, block, symmetric, level)
    round_embedding(graph.graph, block)
    save_graph(graph, out)
    copy_beside(source, out)
    context.record.update(weights=weights_by_kind(graph), weights_bytes=stored_bytes(out))


def own_embedding(graph: Any) -> None:
    """Give an embedding that is the head's weight, transposed, a weight of its own to quantize."""
    from onnx import numpy_helper

    weights = {one.name: one for one in graph.initializer}
    for node in list(graph.node):
        if node.op_type != "Transpose" or node.input[0] not in weights:
            continue
        turned = numpy_helper.to_array(weights[node.input[0]]).T.copy()
        graph.initializer.append(numpy_helper.from_array(turned, node.output[0]))
        graph.node.remove(node)


def round_embedding(graph: Any, block: int) -> None:
    """Round the table of every Gather to 8 bit in blocks; ONNX Runtime's tool knows 4 bit alone.

    The operator GatherBlockQuantized of ContribOperators.md: a weight is (q - 128) * scale.
    """
    import numpy as np
    from onnx import helper, numpy_helper

    weights = {one.name: one for one in graph.initializer}
    for node in list(graph.node):
        stored = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if stored is None or len(stored.dims) != 2 or stored.dims[1] % block:
            continue
        table = numpy_helper.to_array(stored)
        blocks = table.astype(np.float32).reshape(len(table), -1, block)
        scales = np.abs(blocks).max(-1, keepdims=True) / 127
        codes = np.rint(blocks / np.where(scales == 0, 1, scales)) + 128
        names = [f"{stored.name}_{part}" for part in ("quantized", "scales")]
        values = (
            codes.astype(np.uint8).reshape(table.shape),
            scales[..., 0].astype(table.dtype),
        )
        graph.initializer.extend(map(numpy_helper.from_array, values, names))
        made = helper.make_node(
            "GatherBlockQuantized",
            [names[0], node.input[1], names[1]],
            list(node.output),
            name=node.name,
            domain="com.microsoft",
            gather_axis=0,
            quantize_axis=1,
            block_size=block,
            bits=_TABLE_BITS,
        )
        graph.node.insert(list(graph.node).index(node), made)
        graph.node.remove(node)
        graph.initializer.remove(stored)


def weights_by_kind(graph: Any) -> dict[str, list[str]]:
    """Return the operators by what their weights are: `int4 block 32`, `float32`."""
    from onnx import TensorProto, helper

    stored = {one.name: TensorProto.DataType.Name(one.data_type) for one in graph.graph.initializer}
    found: dict[str, list[str]] = {}
    for node in graph.graph.node:
        about = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
            label = f"int{about['bits']} block {about['block_size']}"
        elif node.op_type in ("MatMul", "Gather") and (kind := _matrix(node, stored)):
            label = "float32" if kind == "FLOAT" else kind.lower()
        else:
            continue
        name = _TOOL_SUFFIX.sub("", node.name).strip("/").removeprefix("model/")
        found.setdefault(label, []).append(name)
    return dict(sorted(found.items()))


def _matrix(node: Any, stored: dict[str, str]) -> str:
    kinds = [stored[name] for name in node.input if name in stored]
    return kinds[0] if kinds and kinds[0].startswith(("FLOAT", "BFLOAT")) else ""


def _is_head(name: str) -> bool:
    return "lm_head" in name


def _rounded(
    graph: Any,
    bits: int,
    block: int,
    symmetric: bool,
    level: int,
    exclude: list[str] | None = None,
) -> Any:
    """Return the graph with the constant matrices of its MatMul operators rounded."""
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.ERROR)
    config = DefaultWeightOnlyQuantConfig(
        block_size=block,
        is_symmetric=symmetric,
        accuracy_level=level,
        op_types_to_quantize=("MatMul",),
        bits=bits,
    )
    tool = MatMulNBitsQuantizer(graph, nodes_to_exclude=exclude, algo_config=config)
    tool.process()
    return tool.model.model
