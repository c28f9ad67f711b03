"""Filtering a study's variants by method, engine, bits, task and verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weightcut import registry
from weightcut.errors import WeightcutError
from weightcut.records import Results
from weightcut.records.results import VariantResult
from weightcut.reports import measures

NO_METHOD = "as it is"
_WIDE = 16.0


@dataclass(frozen=True)
class Choice:
    """What a reader keeps; an empty set keeps everything."""

    methods: Sequence[str] = ()
    engines: Sequence[str] = ()
    bits: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    tasks: Sequence[str] = ()


def methods(variant: VariantResult) -> list[str]:
    """Return the kinds of a variant's steps, or that there are none."""
    return [str(step.get("kind", "?")) for step in variant.recipe] or [NO_METHOD]


def bits(variant: VariantResult) -> str:
    """Return the bits of a variant's weights as far as its recipe tells, `unknown` otherwise."""
    found = [_bits(step) for step in variant.recipe]
    if None in found:
        return "unknown"
    known = [value for value in found if value is not None]
    return f"{min(known, default=_WIDE):g}"


def _bits(step: Mapping[str, Any]) -> float | None:
    """Return the bits that a step leaves weights in; None where its method is not known here."""
    given = step.get("bits")
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    try:
        method = registry.load("method", str(step.get("kind", "")))
    except (WeightcutError, ImportError):
        return None
    declared = getattr(method, "bits", None)
    if isinstance(declared, int | float):
        return float(declared)
    field = getattr(method, "model_fields", {}).get("bits")
    default = getattr(field, "default", None)
    return float(default) if isinstance(default, int | float) else _WIDE


def options(results: Results) -> dict[str, list[str]]:
    """Return what there is to choose from, by filter."""
    variants = results.variants
    return {
        "methods": _once(kind for v in variants for kind in methods(v)),
        "engines": _once(v.engine for v in variants),
        "bits": sorted(_once(bits(v) for v in variants), key=_order),
        "verdicts": _once(v.verdict for v in variants),
        "tasks": _once(task for v in variants for task in v.tasks),
    }


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _order(value: str) -> float:
    return float(value) if value.replace(".", "", 1).isdigit() else 99.0


def apply(results: Results, choice: Choice) -> Results:
    """Return the results of the variants, and of the tasks, that a choice keeps."""

    def kept(one: VariantResult) -> bool:
        return (
            (not choice.methods or any(kind in choice.methods for kind in methods(one)))
            and (not choice.engines or one.engine in choice.engines)
            and (not choice.bits or bits(one) in choice.bits)
            and (not choice.verdicts or one.verdict in choice.verdicts)
        )

    variants = [variant for variant in results.variants if kept(variant)]
    if choice.tasks:
        variants = [
            v.model_copy(update={"tasks": {t: s for t, s in v.tasks.items() if t in choice.tasks}})
            for v in variants
        ]
    return part(results, variants)


def part(results: Results, variants: Sequence[VariantResult]) -> Results:
    """Return the results of some variants, with a warning that says what is left out."""
    warnings = list(results.warnings)
    tasks = measures.task_names(results)
    some = [task for task in tasks if any(task in v.tasks for v in variants)]
    if variants and len(some) < len(tasks):
        warnings.insert(0, f"{len(some)} of {len(tasks)} tasks are shown (filtered)")
    if len(variants) < len(results.variants):
        warnings.insert(
            0, f"{len(variants)} of {len(results.variants)} variants are shown (filtered)"
        )
    return results.model_copy(update={"variants": list(variants), "warnings": warnings})
