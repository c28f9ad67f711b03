"""Which recipes to try first for a model on some devices, from rules and sizes, before any run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import Field

from weightcut import registry
from weightcut.hardware import fits
from weightcut.hardware.rules import SEVERITY, Device, Part, Verdict
from weightcut.hardware.verdicts import Judgement, judge, parts
from weightcut.records import Record

_WIDE = 16.0  # bits of a weight that is not quantized
_GPU_BASE = 1 << 30  # bytes that CUDA, its kernels and a short cache take beside the weights


class Suggestion(Record):
    """A recipe and an engine on one device, with what they take there.

    weight_bytes: weights x bits. memory_bytes: those in memory, with what the engine takes beside
    them. seconds_per_token: of one sequence, rough and for ordering alone: on a CPU the engine's
    measured cost scaled by the bits, on a GPU the time to read the weights once; None where the
    bandwidth is unknown.
    """

    recipe: str = Field(description="as `weightcut compress --recipe` takes it; empty: as it is")
    engine: str
    device: str
    verdict: Verdict
    fits: bool
    bits: float
    weight_bytes: int
    memory_bytes: int
    available_bytes: int | None
    seconds_per_token: float | None
    reason: str = Field("", description="why it does not fit, or is slow")


def suggest(parameters: int, source: str, available: Sequence[Device]) -> tuple[Suggestion, ...]:
    """Return the recipes of at most one quantization for a model, the best to try first.

    source: the checkpoint's format. In order: what fits before what does not, what works before
    what is slow, then the fastest by the rough prediction, calibrated methods before those without.
    What it does to quality is not predicted: that is measured (`weightcut run`).
    """
    known = {(part.kind, part.name): part for part in parts()}
    found: list[tuple[Suggestion, tuple[bool, int]]] = []
    for device in available:
        for engine, declared in _declared("engine", known):
            opened = judge(engine, device)
            if opened.verdict == "not-here":
                continue
            if (way := _way(source, declared.accepts)) is not None:
                one = _predict(parameters, device, opened, declared, None, way)
                found.append((one, (False, 0)))
            for method, made in _declared("method", known):
                if not _quantizes(method) or made.produces not in declared.accepts:
                    continue
                judged, way = judge(method, device), _way(source, made.accepts)
                if judged.verdict != "not-here" and way is not None:
                    one = _predict(parameters, device, opened, declared, judged, (*way, made))
                    found.append((one, (not made.needs_calibration, len(judged.findings))))
    found.sort(key=lambda pair: _order(*pair))
    return tuple(suggestion for suggestion, _ in found)


def _order(one: Suggestion, tie: tuple[bool, int]) -> tuple[Any, ...]:
    seconds = one.seconds_per_token
    return (
        not one.fits,
        SEVERITY.index(one.verdict),
        0.0 if seconds is None else float(f"{seconds:.2g}"),
        tie,
        one.recipe,
    )


def _predict(
    parameters: int,
    device: Device,
    opened: Judgement,
    engine: Any,
    judged: Judgement | None,
    steps: Sequence[Any],
) -> Suggestion:
    bits = (judged.part.bits if judged else None) or _WIDE
    resident = judged.resident_bits.get(opened.part.name, bits) if judged else bits
    weights = int(parameters * bits / 8)
    in_memory = int(parameters * resident / 8)
    if device.kind == "cpu":
        memory = engine.cost.base_memory + int(in_memory * engine.cost.weights_copies)
        seconds = engine.cost.single_s * parameters * resident / _WIDE
    else:
        memory = _GPU_BASE + in_memory
        seconds = in_memory / device.bandwidth if device.bandwidth else None
    judgements = [one for one in (opened, judged) if one is not None]
    verdict = max((one.verdict for one in judgements), key=SEVERITY.index)
    too_much = _too_much(memory, device, steps, parameters)
    slow = [f.reason for one in judgements if one.verdict == "slow" for f in one.worst]
    return Suggestion(
        recipe=judged.part.name if judged else "",
        engine=opened.part.name,
        device=device.name,
        verdict=verdict,
        fits=not too_much,
        bits=bits,
        weight_bytes=weights,
        memory_bytes=memory,
        available_bytes=device.memory,
        seconds_per_token=seconds,
        reason=too_much or "; ".join(dict.fromkeys(slow)),
    )


def _too_much(memory: int, device: Device, steps: Sequence[Any], parameters: int) -> str:
    """Return what does not fit: the model at work, or the making of it; empty where both do."""
    if device.memory is not None and memory > device.memory:
        return (
            f"at work it takes about {fits.gigabytes(memory)} of memory and "
            f"{fits.gigabytes(device.memory)} are there"
        )
    for step in steps:
        if reason := fits.check(step.requirements(), parameters):
            return f"to make it, {step.kind}: {reason}"
    return ""


def _quantizes(part: Part) -> bool:
    return part.bits is not None and part.bits < _WIDE


def _declared(kind: Any, known: dict[tuple[Any, str], Part]) -> Iterable[tuple[Part, Any]]:
    """Yield each registered part with its class, methods as made with their defaults."""
    for (one, name), part in known.items():
        if one == kind and not part.broken:
            declared = registry.load(kind, name)
            yield part, declared() if kind == "method" else declared


def _way(source: str, accepts: Iterable[str]) -> tuple[Any, ...] | None:
    """Return the conversions from a format to an accepted one; None where there are none."""
    if source in accepts:
        return ()
    for _, method in _declared("method", {(part.kind, part.name): part for part in parts()}):
        if method.exact and source in method.accepts and method.produces in accepts:
            return (method,)
    return None
