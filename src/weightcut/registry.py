"""What can be named in a study: literal tables of `name -> "module:attribute"`.

Importing this module imports none of the parts; `load` imports the one that is asked for.
An outside package adds a part with an entry point in the group `weightcut.methods`,
`weightcut.engines`, `weightcut.tasks` or `weightcut.reports`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from weightcut.errors import UsageError, nearest

Kind = Literal["method", "engine", "task", "report"]

METHODS: Mapping[str, str] = {
    "awq": "weightcut.compression.awq:AWQ",
    "bnb-fp4": "weightcut.compression.bnb_fp4:BnbFP4",
    "bnb-int8": "weightcut.compression.bnb_int8:BnbInt8",
    "bnb-nf4": "weightcut.compression.bnb_nf4:BnbNF4",
    "distill": "weightcut.compression.distill:Distill",
    "export-openvino": "weightcut.compression.export_openvino:ExportOpenVINO",
    "gptq": "weightcut.compression.gptq:GPTQ",
    "int4": "weightcut.compression.int4:Int4",
    "int8": "weightcut.compression.int8:Int8",
    "magnitude": "weightcut.compression.magnitude:Magnitude",
    "prune-depth": "weightcut.compression.prune_depth:PruneDepth",
    "rtn": "weightcut.compression.rtn:RTN",
    "scripted-shrink": "weightcut.compression.scripted_shrink:ScriptedShrink",
    "smoothquant": "weightcut.compression.smoothquant:SmoothQuant",
    "sparsegpt": "weightcut.compression.sparsegpt:SparseGPT",
    "torchao-int4": "weightcut.compression.torchao_int4:TorchaoInt4",
    "torchao-int8": "weightcut.compression.torchao_int8:TorchaoInt8",
    "torchao-int8-dynamic": "weightcut.compression.torchao_int8_dynamic:TorchaoInt8Dynamic",
    "wanda": "weightcut.compression.wanda:Wanda",
}
ENGINES: Mapping[str, str] = {
    "openvino": "weightcut.engines.openvino:OpenVINOEngine",
    "scripted": "weightcut.engines.scripted:ScriptedEngine",
    "transformers": "weightcut.engines.transformers:TransformersEngine",
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


@cache
def _outside(kind: Kind) -> Mapping[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"weightcut.{kind}s")}
