"""What stops a part of weightcut on some machine or slows it down, as data (`rules.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field

from weightcut.hardware.cards import Capability, Source
from weightcut.records import Record

Verdict = Literal["works", "slow", "not-here"]
SEVERITY: tuple[Verdict, ...] = ("works", "slow", "not-here")
_WIDE = 16  # bits of a weight that is not quantized


class Part(Record):
    """A method or an engine, by what it declares itself."""

    kind: Literal["method", "engine"]
    name: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    bits: float | None = None
    writes: str | None = Field(None, description="the format that a method produces")
    trains: bool = False
    gpu_only: bool = False
    broken: str = Field("", description="why it cannot be imported; then nothing else is known")


class Device(Record):
    """What parts are computed on: this machine's CPU, one of its GPUs, or a card of the table.

    capability: of a GPU, None where the driver does not tell. bandwidth: bytes a second, where
    known. torch: the build of PyTorch that would use it.
    """

    kind: Literal["cpu", "gpu"]
    name: str
    memory: int | None = Field(None, description="bytes; of a CPU, those available now")
    bandwidth: float | None = None
    capability: tuple[int, int] | None = None
    flags: frozenset[str] = frozenset()
    architecture: str = ""
    torch: Literal["cpu", "cuda"] = "cuda"
    driver: int | None = Field(None, description="the driver's major version; None: not known")


class Parts(Record):
    """Which parts a rule is about; all that is said must hold."""

    names: tuple[str, ...] = Field((), description="it is one of these")
    packages: tuple[str, ...] = Field((), description="it needs one of these")
    without: tuple[str, ...] = Field((), description="it needs none of these")
    bits: float | None = None
    quantizes: bool | None = None
    trains: bool | None = None
    gpu_only: bool | None = None
    writes: str | None = None
    writes_not: str | None = None

    def cover(self, part: Part) -> bool:
        """Return whether the rule is about this part."""
        needed = set(part.packages)
        quantizes = part.bits is not None and part.bits < _WIDE
        return (
            (not self.names or part.name in self.names)
            and (not self.packages or bool(needed & set(self.packages)))
            and not needed & set(self.without)
            and self.bits in (None, part.bits)
            and self.quantizes in (None, quantizes)
            and self.trains in (None, part.trains)
            and self.gpu_only in (None, part.gpu_only)
            and self.writes in (None, part.writes)
            and (self.writes_not is None or self.writes_not != part.writes)
        )


class Where(Record):
    """Where a rule holds; all that is said must hold."""

    capability_from: Capability | None = None
    capability_below: Capability | None = None
    lacks: tuple[str, ...] = Field((), description="CPU flags of which none is there")
    architecture: str | None = None
    torch: Literal["cpu", "cuda"] | None = None
    driver_below: int | None = None

    def hold(self, device: Device) -> bool:
        """Return whether a device is one of these; one of unknown capability is not."""
        known = device.capability
        if (self.capability_from or self.capability_below) and known is None:
            return False
        return (
            (self.capability_from is None or (known or (0, 0)) >= self.capability_from)
            and (self.capability_below is None or (known or (0, 0)) < self.capability_below)
            and not device.flags & set(self.lacks)
            and self.architecture in (None, device.architecture)
            and self.torch in (None, device.torch)
            and (
                self.driver_below is None
                or (device.driver is not None and device.driver < self.driver_below)
            )
        )


class Rule(Record):
    """One rule; see the head of `rules.yaml` for its fields."""

    id: str = Field(pattern=r"^[a-z0-9.-]+$")
    device: Literal["cpu", "gpu", "any"]
    parts: Parts
    where: Where = Where()
    verdict: Verdict
    reason: str
    instead: str = ""
    resident_bits: dict[str, float] = {}
    source: Source

    def fires(self, part: Part, at: Device) -> bool:
        """Return whether it says something about this part on this device."""
        return self.device in ("any", at.kind) and self.parts.cover(part) and self.where.hold(at)

    def said_of(self, device: Device) -> str:
        """Return the reason with the device's own numbers put in."""
        known = ".".join(map(str, device.capability or ("unknown",)))
        return self.reason.replace("{capability}", known).replace("{driver}", str(device.driver))


class _Rules(Record):
    rules: tuple[Rule, ...]


@cache
def rules() -> tuple[Rule, ...]:
    """Return every rule of the file, in its order."""
    text = Path(__file__).with_name("rules.yaml").read_text(encoding="utf-8")
    return _Rules.model_validate(yaml.safe_load(text)).rules
