"""What can be named in a study: literal tables of `name -> "module:attribute"`.

Importing this module imports none of the parts; `load` imports the one that is asked for.
An outside package adds a part with an entry point in the group `weightcut.methods`,
`weightcut.engines`, `weightcut.tasks` or `weightcut.reports`; a task may also be named as
`FILE.py:CLASS` (`load_file`).
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from weightcut.errors import UsageError, nearest

_IN_FILE = re.compile(r".+\.py:[A-Za-z_]\w*")
Kind = Literal["method", "engine", "task", "report"]

METHODS: Mapping[str, str] = {
    "awq": "weightcut.compression.awq:AWQ",
    "bnb-fp4": "weightcut.compression.bnb_fp4:BnbFP4",
    "bnb-int8": "weightcut.compression.bnb_int8:BnbInt8",
    "bnb-nf4": "weightcut.compression.bnb_nf4:BnbNF4",
    "distill": "weightcut.compression.distill:Distill",
    "export-gguf": "weightcut.compression.export_gguf:ExportGGUF",
    "export-onnx": "weightcut.compression.export_onnx:ExportONNX",
    "export-openvino": "weightcut.compression.export_openvino:ExportOpenVINO",
    "gguf-iq4_nl": "weightcut.compression.gguf_quants:GgufIQ4NL",
    "gguf-iq4_xs": "weightcut.compression.gguf_quants:GgufIQ4XS",
    "gguf-q2_k": "weightcut.compression.gguf_quants:GgufQ2K",
    "gguf-q3_k_m": "weightcut.compression.gguf_quants:GgufQ3KM",
    "gguf-q4_0": "weightcut.compression.gguf_quants:GgufQ40",
    "gguf-q4_k_m": "weightcut.compression.gguf_quants:GgufQ4KM",
    "gguf-q5_k_m": "weightcut.compression.gguf_quants:GgufQ5KM",
    "gguf-q6_k": "weightcut.compression.gguf_quants:GgufQ6K",
    "gguf-q8_0": "weightcut.compression.gguf_quants:GgufQ80",
    "gptq": "weightcut.compression.gptq:GPTQ",
    "int4": "weightcut.compression.int4:Int4",
    "int8": "weightcut.compression.int8:Int8",
    "lora": "weightcut.compression.lora:LoRA",
    "magnitude": "weightcut.compression.magnitude:Magnitude",
    "mxfp4": "weightcut.compression.mxfp4:MXFP4",
    "nf4": "weightcut.compression.nf4:NF4",
    "onnx-int4": "weightcut.compression.onnx_int4:OnnxInt4",
    "onnx-int8": "weightcut.compression.onnx_int8:OnnxInt8",
    "prune-depth": "weightcut.compression.prune_depth:PruneDepth",
    "prune-width": "weightcut.compression.prune_width:PruneWidth",
    "qlora": "weightcut.compression.qlora:QLoRA",
    "rtn": "weightcut.compression.rtn:RTN",
    "scripted-shrink": "weightcut.compression.scripted_shrink:ScriptedShrink",
    "smoothquant": "weightcut.compression.smoothquant:SmoothQuant",
    "sparsegpt": "weightcut.compression.sparsegpt:SparseGPT",
    "tensorrt": "weightcut.compression.tensorrt:TensorRT",
    "torch-dynamic": "weightcut.compression.torch_dynamic:TorchDynamic",
    "torchao-int4": "weightcut.compression.torchao_int4:TorchaoInt4",
    "torchao-int8": "weightcut.compression.torchao_int8:TorchaoInt8",
    "torchao-int8-dynamic": "weightcut.compression.torchao_int8_dynamic:TorchaoInt8Dynamic",
    "wanda": "weightcut.compression.wanda:Wanda",
}
ENGINES: Mapping[str, str] = {
    "llama_cpp": "weightcut.engines.llama_cpp:LlamaCppEngine",
    "onnxruntime": "weightcut.engines.onnxruntime:OnnxRuntimeEngine",
    "openvino": "weightcut.engines.openvino:OpenVINOEngine",
    "scripted": "weightcut.engines.scripted:ScriptedEngine",
    "tensorrt": "weightcut.engines.tensorrt:TensorRTEngine",
    "transformers": "weightcut.engines.transformers:TransformersEngine",
    "vllm": "weightcut.engines.vllm:VLLMEngine",
}
TASKS: Mapping[str, str] = {
    "defects4j": "weightcut.tasks.defects4j:Defects4J",
    "humaneval": "weightcut.tasks.humaneval:HumanEval",
    "humanevalfix": "weightcut.tasks.humanevalfix:HumanEvalFix",
    "mbpp": "weightcut.tasks.mbpp:Mbpp",
    "mdeval": "weightcut.tasks.mdeval:MdEval",
    "perplexity": "weightcut.tasks.perplexity:Perplexity",
    "quixbugs": "weightcut.tasks.quixbugs:QuixBugs",
    "repair": "weightcut.tasks.repair:Repair",
    "translate": "weightcut.tasks.translate:Translate",
}
REPORTS: Mapping[str, str] = {
    "csv": "weightcut.reports.csv:write",
    "html": "weightcut.reports.html:write",
    "json": "weightcut.reports.json:write",
    "md": "weightcut.reports.markdown:write",
    "pdf": "weightcut.reports.pdf:write",
    "png": "weightcut.reports.pictures:write_png",
    "svg": "weightcut.reports.pictures:write_svg",
}
_TABLES: Mapping[Kind, Mapping[str, str]] = {
    "method": METHODS,
    "engine": ENGINES,
    "task": TASKS,
    "report": REPORTS,
}


@cache
def names(kind: Kind) -> tuple[str, ...]:
    """Return every registered name of one kind, sorted, those of outside packages included."""
    return tuple(sorted({*_TABLES[kind], *_outside(kind)}))


@cache
def load(kind: Kind, name: str) -> Any:
    """Import and return what `name` stands for; unknown: UsageError with the nearest match."""
    target = _TABLES[kind].get(name) or _outside(kind).get(name)
    if target is None:
        raise UsageError(f"unknown {kind} {name!r}; {nearest(name, names(kind))}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def is_file(name: str) -> bool:
    """Return whether a name means a part of the user's own: `FILE.py:CLASS`."""
    return _IN_FILE.fullmatch(name) is not None


@cache
def load_file(kind: Kind, reference: str) -> Any:
    """Import a part of the user's own from `FILE.py:CLASS` and return it.

    The file's code runs, as any Python that one imports. UsageError where there is no such file or
    class, where importing it fails, and where a registered part has the same name already.
    """
    path, _, name = reference.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"weightcut_own_{Path(path).stem}", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise UsageError(f"there is no such file for a {kind}", place=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for what annotations name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"cannot be imported: {type(error).__name__}: {error}", place=path
        ) from error
    part = getattr(module, name, None)
    if not isinstance(part, type):
        known = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UsageError(f"there is no class {name!r}; {nearest(name, known)}", place=path)
    fields = getattr(part, "model_fields", {})
    own = getattr(fields.get("kind"), "default", None)
    if not isinstance(own, str):
        raise UsageError(
            f"the class {name} is no {kind}: it needs a field `kind` with its name as the default",
            place=path,
            cure="docs/your-own-task.md has the whole contract",
        )
    if own in names(kind):
        raise UsageError(f"a {kind} named {own!r} is there already; choose another", place=path)
    return part


@cache
def _outside(kind: Kind) -> Mapping[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"weightcut.{kind}s")}
