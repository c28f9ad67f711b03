"""What work costs: measured on real cells (`costs.yaml`), else what a part says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import Field

from weightcut.compression.method import Requirements
from weightcut.engines.engine import Cost
from weightcut.hardware.speed import REFERENCE
from weightcut.records import Record
from weightcut.study.work import Amounts

Shares = Mapping[str, float]


class OwnWord(NamedTuple):
    """What each amount of work counts: in seconds, and in bytes of memory."""

    seconds: Shares
    memory: Shares


class Load(NamedTuple):
    """Work of one part of weightcut, and what it costs by the part's own word.

    part: the name under which `costs.yaml` may know better: `engine openvino`, `method gptq`, or
    `transformers with bnb-nf4` for what quantized weights cost an engine more.
    """

    part: str
    amounts: Amounts
    declared: Shares


class _Part(Record):
    seconds: dict[str, float] = Field({}, description="times its amounts of time")
    memory: dict[str, float] = Field({}, description="times its amounts of memory")


class _Costs(Record):
    measured: str = Field(description="date and machine")
    parts: dict[str, _Part]


def seconds(load: Load) -> float:
    """Return the wall seconds of a load."""
    known = table().parts.get(load.part)
    return _sum(load.amounts, (known.seconds if known else {}) or load.declared)


def memory(load: Load) -> float:
    """Return the bytes of a load."""
    known = table().parts.get(load.part)
    return _sum(load.amounts, (known.memory if known else {}) or load.declared)


def engine_says(cost: Cost) -> OwnWord:
    """Return an engine's own costs as shares of this project's units."""
    weight = 2.0  # bytes at 16 bit
    return OwnWord(
        seconds={
            "start": cost.start_s / REFERENCE.start,
            "prompts": cost.prefill_s * REFERENCE.gemm / 2,
            "tokens": cost.batched_s * REFERENCE.gemm / 2,
            "weights": max(0.0, cost.single_s - cost.batched_s) * REFERENCE.read / weight,
            "watching": 1.0,
        },
        memory={
            "base": float(cost.base_memory),
            "resident": cost.weights_copies,
            "buffers": 1.0,
            "batch": 1.0,
            "windows": 2.0,
        },
    )


def method_says(needs: Requirements) -> OwnWord:
    """Return a method's own requirements as shares of this project's units."""
    return OwnWord(
        seconds={
            "start": needs.base_seconds / REFERENCE.start,
            "products": needs.seconds_per_weight * REFERENCE.gemm / 2,
        },
        memory={
            "base": float(needs.base_memory),
            "weights": needs.memory_per_weight / 2,
            "activations": 1.0,
            "windows": 1.0,
        },
    )


@cache
def table() -> _Costs:
    """Return the measured costs."""
    text = Path(__file__).with_name("costs.yaml").read_text(encoding="utf-8")
    return _Costs.model_validate(yaml.safe_load(text))


def _sum(amounts: Amounts, shares: Shares) -> float:
    return sum(shares.get(name, 0.0) * amount for name, amount in amounts.items())
