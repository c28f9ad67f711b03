"""Recipes: chains of compression steps, parsed and type-checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import yaml
from pydantic import ValidationError

from weightcut import registry
from weightcut.compression.method import Method, produced
from weightcut.errors import UsageError, nearest
from weightcut.records import Format, Step

_WIDE = 16  # bits of a weight that is not quantized
_CALL = re.compile(r"^\s*(?P<kind>[^()]*[^()\s])\s*(?:\((?P<inner>.*)\))?\s*$", re.DOTALL)


def parse_recipe(text: str) -> tuple[Step, ...]:
    """Parse `prune-depth(0.15) | distill(steps=200) | int4(awq=true)` into validated steps.

    Values are YAML scalars; one value without a name is the method's first setting.
    """
    if not text.strip():
        return ()
    return tuple(parse_step(part) for part in text.split("|"))


def parse_step(text: str) -> Step:
    """Parse one step, `int4(awq=true)`."""
    kind, settings = parse_call(text)
    if "" in settings:
        settings[_first_setting(kind)] = settings.pop("")
    return step(kind, settings)


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """Parse `name(key=value, ...)` into the name and its settings, values as YAML scalars.

    A value without a key stands under the key "". UsageError where the text is none of this.
    """
    match = _CALL.match(text)
    if match is None:
        raise UsageError(f"cannot read {text.strip()!r}", cure="write it like int4(awq=true)")
    settings: dict[str, Any] = {}
    for item in filter(str.strip, (match["inner"] or "").split(",")):
        name, equals, value = item.partition("=")
        if not equals:
            name, value = "", item
        try:
            settings[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:  # such as the 45th day of a month
            raise UsageError(
                f"cannot read {item.strip()!r}", cure="quote the value, as in text='a: b'"
            ) from error
    return match["kind"].strip(), settings


def step(kind: str, settings: Mapping[str, Any]) -> Step:
    """Validate a step's settings; the returned step holds only those that differ from defaults."""
    method = _validated(kind, settings)
    data = method.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    return Step(kind=kind, settings=data)


def build(step: Step) -> Method:
    """Return the method object that a step stands for."""
    return cast("Method", _validated(step.kind, step.settings))


def fit(steps: Sequence[Step], source: Format, opens: frozenset[Format]) -> tuple[Step, ...]:
    """Return the steps with the conversions that they need put in; UsageError where none fits.

    source: format of the checkpoint. opens: formats that the engine accepts.
    """
    fitted: list[Step] = []
    current = source
    for index, one in enumerate(steps, start=1):
        method = build(one)
        if current not in method.accepts:
            what = f"step {index}, {one.label()}, which accepts {_any(method.accepts)}"
            fitted.append(_conversion(current, method.accepts, what))
            current = produced(build(fitted[-1]))
        fitted.append(one)
        current = produced(method)
    if current not in opens:
        fitted.append(_conversion(current, opens, f"the engine, which opens {_any(opens)}"))
    _refuse_after_quantization(fitted)
    return tuple(fitted)


def _refuse_after_quantization(steps: Sequence[Step]) -> None:
    """Refuse a step that would load the 16-bit weights that an earlier one has quantized."""
    for one, after in pairwise(steps):
        method = build(one)
        if method.bits is None or method.bits >= _WIDE:
            continue
        again = build(after).bits
        if method.produces == "hf" or (again is not None and again < _WIDE):
            raise UsageError(
                f"{after.label()} works on 16-bit weights, and {one.label()} leaves none",
                cure=f"put {one.kind} last, with an engine that opens its weights as they are, "
                "or leave one of the two out",
            )


def bits(steps: Sequence[Step]) -> float | None:
    """Return the bits per quantized weight that the last quantizing step leaves, None if none."""
    return next((b for one in reversed(steps) if (b := build(one).bits) is not None), None)


def _conversion(current: Format, wanted: frozenset[Format], what: str) -> Step:
    for name in registry.names("method"):
        method = registry.load("method", name)
        if method.exact and current in method.accepts and method.produces in wanted:
            return Step(kind=name)
    raise UsageError(
        f"nothing turns the format {current!r} into what is needed by {what}",
        cure="change the order of the steps or take another engine",
    )


def _validated(kind: str, settings: Mapping[str, Any]) -> Any:
    method = registry.load("method", kind)
    try:
        return method.model_validate({"kind": kind, **settings})
    except ValidationError as error:
        raise UsageError(explain(error, f"method {kind!r}", method)) from error


def explain(error: ValidationError, what: str, model: Any) -> str:
    """Return a pydantic error in one line, with the nearest setting for an unknown one."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [field for field in model.model_fields if field != "kind"]
        return f"{what} has no setting {name!r}; {nearest(name, known)}"
    return f"{what}, setting {name!r}: {first['msg']} (got {first['input']!r})"


def _first_setting(kind: str) -> str:
    fields = [name for name in registry.load("method", kind).model_fields if name != "kind"]
    if not fields:
        raise UsageError(f"method {kind!r} has no settings")
    return str(fields[0])


def _any(formats: frozenset[Format]) -> str:
    return " or ".join(sorted(formats))
