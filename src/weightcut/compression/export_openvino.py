"""Export a Hugging Face causal language model to a stateful OpenVINO model."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from weightcut.compression.files import copy_companions
from weightcut.compression.hf_io import load_causal_lm, quiet_transformers
from weightcut.compression.hf_source import check_source
from weightcut.compression.method import Context, Requirements
from weightcut.compression.openvino_files import WEIGHTS, save_graph
from weightcut.compression.openvino_trace import trace
from weightcut.records import Format, Record
from weightcut.settings import silence_telemetry


class ExportOpenVINO(Record):
    """Write the model as an OpenVINO graph with the key-value cache inside.

    Weight matrices stay in the 16-bit type that they have (bf16 or fp16); those of a float32
    source become fp16, or bf16 where a value would not fit. Norms and biases are kept in float32.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "openvino"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    bits: ClassVar[float | None] = 16
    paper: ClassVar[str] = ""

    kind: Literal["export-openvino"] = "export-openvino"

    def requirements(self) -> Requirements:
        """Return one 16-bit copy of the weights, and what transformers and OpenVINO weigh."""
        return Requirements(
            packages=("openvino", "openvino_tokenizers", "torch", "transformers"),
            memory_per_weight=4.0,
            base_memory=900_000_000,
            seconds_per_weight=2e-8,
            base_seconds=12.0,
        )

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Trace the model in `source`, make it stateful, write it with its tokenizer to `out`."""
        silence_telemetry()
        check_source(source)
        context.progress("loading the model", 0.0)
        model = load_causal_lm(source)
        dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
        context.progress("tracing", 0.3)
        with quiet_transformers():
            graph = trace(model)
        make_stateful(graph)
        context.progress("writing", 0.8)
        save_graph(graph, out)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        copy_companions(source, out)
        context.record.update(
            source_dtypes=dtypes,
            weights_bytes=(out / WEIGHTS).stat().st_size,
            openvino_tokenizer=_export_tokenizer(source, out),
        )


def make_stateful(graph: Any) -> None:
    """Turn the cache inputs and outputs of a traced graph into states inside it.

    Adds the input beam_idx [batch], by which the states are reordered first. A state that was reset
    is empty: [batch, heads, 0, head size].
    """
    import openvino as ov
    from openvino import opset13 as op
    from openvino._offline_transformations import apply_make_stateful_transformation

    names = {
        port.get_any_name(): port.get_any_name().replace("past_key_values", "present")
        for port in graph.inputs
        if port.get_any_name().startswith("past_key_values")
    }
    beam = op.parameter(name="beam_idx", dtype=ov.Type.i32, shape=ov.PartialShape([-1]))
    beam.output(0).get_tensor().add_names({"beam_idx"})
    graph.add_parameters([beam])
    for name in names:
        port = graph.input(name)
        readers = port.get_target_inputs()
        reordered = op.gather(port, beam, op.constant(0))
        for reader in readers:
            reader.replace_source_output(reordered.output(0))
    graph.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(graph, names)
    shape = op.shape_of(graph.input("input_ids"), output_type="i64")
    batch = op.gather(shape, op.constant([0]), op.constant(0))
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            _, heads, _, size = node.get_output_partial_shape(0)
            rest = op.constant([heads.get_length(), 0, size.get_length()], dtype=ov.Type.i64)
            zero = op.constant(0.0, dtype=node.get_output_element_type(0))
            node.set_arguments([op.broadcast(zero, op.concat([batch, rest], axis=0))])
    graph.validate_nodes_and_infer_types()


def _export_tokenizer(source: Path, out: Path) -> str:
    """Write OpenVINO's own tokenizer models; return "exported", or why that was not possible.

    weightcut does not use them; other programs that open the folder do.
    """
    from transformers import AutoTokenizer

    try:
        import openvino as ov
        from openvino_tokenizers import convert_tokenizer

        with quiet_transformers(), contextlib.redirect_stdout(None):
            tokenizer = AutoTokenizer.from_pretrained(
                source, local_files_only=True, trust_remote_code=False
            )
            models: Sequence[Any] = convert_tokenizer(tokenizer, with_detokenizer=True)
        for model, name in zip(models, ("tokenizer", "detokenizer"), strict=True):
            ov.save_model(model, out / f"openvino_{name}.xml")
    except Exception as error:  # noqa: BLE001 - any failure leaves a model that works without them
        for path in out.glob("openvino_*tokenizer.*"):
            path.unlink()
        return f"not exported: {type(error).__name__}: {str(error)[:200]}"
    return "exported"
