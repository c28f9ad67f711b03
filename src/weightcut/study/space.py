"""The recipes that `weightcut tune` searches: engines, methods and the settings worth varying."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from weightcut import registry
from weightcut.compression import recipe
from weightcut.errors import UsageError
from weightcut.hardware import verdicts
from weightcut.records import Format, Named, Record, Step, VariantSpec, digest
from weightcut.study.build import fitted
from weightcut.study.predict import WIDE

_LONGEST = 80  # letters of a variant's name
_GROUPS = (32, 64, 128)
_SHARES = (0.25, 0.5, 0.75, 1.0)


class Way(Record):
    """A method on an engine, and the values that its settings may have."""

    engine: str
    kind: str
    settings: dict[str, tuple[Any, ...]] = {}

    @property
    def name(self) -> str:
        """Return what it is called among the others."""
        return f"{self.kind} on {self.engine}"

    def variant(self, settings: Mapping[str, Any]) -> VariantSpec:
        """Return the variant with these settings, named by them: equal ones have equal names."""
        step = recipe.step(self.kind, settings)
        label = f"{step.label()} on {self.engine}".replace("/", "_")
        if len(label) > _LONGEST:
            label = f"{label[: _LONGEST - 9]} {digest(step.settings)[:8]}"
        return VariantSpec(name=label, engine=_engine(self.engine), recipe=(step,))


def ways(source: Format, only: Iterable[str] = ()) -> tuple[Way, ...]:
    """Return every quantization that runs here on an engine that runs here.

    source: format of the checkpoint. only: names of methods; empty: all. What trains is left out:
    it has no place in a search by the minute. UsageError where nothing is left.
    """
    wanted, here = set(only), verdicts.devices()
    for name in wanted:
        registry.load("method", name)  # an unknown one is told with the nearest
    found, reasons = [], dict[str, str]()
    for name in registry.names("engine"):
        declared = registry.load("engine", name)
        if verdicts.best(verdicts.part("engine", name, declared), here).verdict == "not-here":
            continue
        for kind in registry.names("method"):
            if wanted and kind not in wanted:
                continue
            method = recipe.build(Step(kind=kind))
            if method.bits is None or method.bits >= WIDE or method.trains:
                reasons[kind] = "it does not quantize" if not method.trains else "it trains"
                continue
            judged = verdicts.best(verdicts.part_of("method", method), here)
            if judged.verdict == "not-here":
                reasons[kind] = judged.said()
                continue
            try:
                fitted((Step(kind=kind),), source, _engine(name))
            except UsageError:
                continue  # this engine does not open what the method writes
            found.append(Way(engine=name, kind=kind, settings=choices(kind)))
    if not found:
        why = "; ".join(f"{kind}: {reason}" for kind, reason in reasons.items())
        raise UsageError(f"nothing to search{f' ({why})' if why else ''}", cure="weightcut doctor")
    return tuple(found)


def choices(kind: str) -> dict[str, tuple[Any, ...]]:
    """Return the settings of a method that have few values, with these, from its own schema.

    Switches and enumerations whole, group sizes, and shares from 0 to 1 (such as how much of the
    weights gets the fewer bits, by which precisions are mixed per layer).
    """
    properties = registry.load("method", kind).model_json_schema()["properties"]
    found: dict[str, tuple[Any, ...]] = {}
    for name, schema in properties.items():
        if name in ("kind", "text"):  # what it calibrates on is a question of its own
            continue
        if schema.get("type") == "boolean":
            found[name] = (False, True)
        elif "enum" in schema:
            found[name] = tuple(schema["enum"])
        elif name == "group_size":
            default = schema.get("default")
            found[name] = _GROUPS if default in _GROUPS else (default, *_GROUPS)
        elif schema.get("type") == "number" and schema.get("maximum") == 1.0:
            found[name] = _SHARES
    return found


def _engine(name: str) -> Named:
    made = registry.load("engine", name).model_validate({"kind": name})
    return Named(kind=name, settings=made.model_dump(mode="json", exclude={"kind"}))
