"""Whether a method or an engine works on a device, works but slowly, or is not for it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from pydantic import Field

from weightcut import registry
from weightcut.hardware import fits, probe
from weightcut.hardware.cards import Card, capability, like
from weightcut.hardware.rules import SEVERITY, Device, Part, Verdict, rules
from weightcut.records import Record


class Finding(Record):
    """One thing that is so, what to do instead, and the rule and the source that say it."""

    verdict: Verdict
    reason: str
    instead: str = ""
    rule: str = Field("", description="empty: seen on this machine, not looked up")
    source: str = ""


class Judgement(Record):
    """What comes of a part on a device; the worst finding is the verdict."""

    part: Part
    device: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    resident_bits: dict[str, float] = Field(
        {}, description="bits that a weight takes in engines where not those that are stored"
    )

    @property
    def worst(self) -> tuple[Finding, ...]:
        """The findings that make the verdict."""
        return tuple(finding for finding in self.findings if finding.verdict == self.verdict)

    def said(self) -> str:
        """Return why the verdict is what it is, and what to do instead, in one line."""
        first = self.worst[0] if self.findings else None
        if first is None:
            return ""
        return f"{first.reason}; instead: {first.instead}" if first.instead else first.reason


@cache
def parts() -> tuple[Part, ...]:
    """Return every registered method and engine, by what it declares itself."""
    found = []
    kinds: tuple[Literal["method", "engine"], ...] = ("engine", "method")
    for kind in kinds:
        for name in registry.names(kind):
            try:
                declared = registry.load(kind, name)
            except ImportError as error:  # of an outside package
                found.append(Part(kind=kind, name=name, broken=f"it cannot be imported: {error}"))
            else:
                found.append(part(kind, name, declared))
    return tuple(found)


def part(kind: Literal["method", "engine"], name: str, declared: Any) -> Part:
    """Return what a registered class declares; a method with its default settings."""
    return part_of(kind, declared if kind == "engine" else declared(), name)


def part_of(kind: Literal["method", "engine"], made: Any, name: str = "") -> Part:
    """Return what an engine or a method declares, a method with the settings that it has."""
    if kind == "engine":
        name = name or str(getattr(made, "kind", made))
        return Part(
            kind=kind,
            name=name,
            packages=made.packages,
            extra=made.extra,
            gpu_only=getattr(made, "gpu", False),
        )
    needs = made.requirements()
    return Part(
        kind=kind,
        name=name or made.kind,
        packages=needs.packages,
        extra=needs.extra,
        bits=made.bits,
        writes=made.produces,
        trains=made.trains,
        gpu_only=needs.gpu,
    )


def resident_bits() -> dict[str, dict[str, float]]:
    """Return the bits that a weight takes at work, by method and engine, where the rules tell.

    That is where an engine computes with larger weights than the method stores.
    """
    cpu = devices()[0]
    return {one.name: judge(one, cpu).resident_bits for one in parts() if one.kind == "method"}


def devices(card: Card | None = None) -> tuple[Device, ...]:
    """Return this machine's CPU and its GPUs, equal ones once; or the card in place of its GPUs."""
    here = probe.machine()
    cpu = Device(
        kind="cpu",
        name=here["cpu"],
        memory=here["memory_available_bytes"],
        flags=frozenset(here["cpu_flags"]),
        architecture=here["architecture"],
    )
    if card is not None:
        return cpu, Device(
            kind="gpu",
            name=card.name,
            memory=int(card.memory_gib * (1 << 30)),
            bandwidth=card.bandwidth_gbs * 1e9,
            capability=card.capability,
        )
    build: Literal["cpu", "cuda"] = "cpu" if _torch_version().endswith("+cpu") else "cuda"
    gpus = [
        Device(
            kind="gpu",
            name=gpu["name"],
            memory=gpu["memory_bytes"],
            bandwidth=known.bandwidth_gbs * 1e9 if (known := like(gpu["name"])) else None,
            capability=_capability(gpu["compute_capability"]),
            torch=build,
            driver=_major(gpu["driver"]),
        )
        for gpu in here["gpus"]
    ]
    return cpu, *dict.fromkeys(gpus)


def judge(part: Part, device: Device) -> Judgement:
    """Return the verdict on a part on one device, with every finding, the worst first."""
    findings = _seen(part, device)
    fired = [rule for rule in rules() if not part.broken and rule.fires(part, device)]
    findings += [
        Finding(
            verdict=rule.verdict,
            reason=rule.said_of(device),
            instead=rule.instead,
            rule=rule.id,
            source=rule.source,
        )
        for rule in fired
    ]
    findings.sort(key=lambda finding: -SEVERITY.index(finding.verdict))
    return Judgement(
        part=part,
        device=device.name,
        verdict=findings[0].verdict if findings else "works",
        findings=tuple(findings),
        resident_bits={k: v for rule in reversed(fired) for k, v in rule.resident_bits.items()},
    )


def best(part: Part, available: Sequence[Device]) -> Judgement:
    """Return the best verdict on a part among some devices, of equal ones the first."""
    found = [judge(part, device) for device in available]
    return min(found, key=lambda one: SEVERITY.index(one.verdict))


def _seen(part: Part, device: Device) -> list[Finding]:
    """Return what this machine itself shows: a package that is not here, a GPU that is needed."""
    if part.broken:
        return [Finding(verdict="not-here", reason=part.broken)]
    found = []
    if part.gpu_only and device.kind == "cpu":
        found.append(Finding(verdict="not-here", reason=fits.NEEDS_GPU))
    if missing := fits.missing_package(part.packages, part.extra):
        found.append(Finding(verdict="not-here", reason=missing))
    if device.kind == "gpu" and device.capability is None:
        reason = "the driver does not tell its compute capability, so little can be said"
        found.append(Finding(verdict="works", reason=reason))
    return found


def _capability(text: str | None) -> tuple[int, int] | None:
    found = capability(text)
    return found if isinstance(found, tuple) else None


def _major(driver: str) -> int | None:
    major = driver.partition(".")[0]
    return int(major) if major.isascii() and major.isdigit() else None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
