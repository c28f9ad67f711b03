"""NVIDIA GPUs by name: memory, bandwidth, compute capability and number formats (`cards.yaml`)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from weightcut.errors import UsageError, nearest
from weightcut.records import Record

Capability = Annotated[tuple[int, int], BeforeValidator(lambda value: capability(value))]
Source = Annotated[str, Field(pattern=r"^(https://\S+|docs/[\w./-]+\.md)$")]
_FILLERS = {"nvidia", "tesla", "geforce", "gpu"}


def capability(value: Any) -> Any:
    """Return a compute capability such as "8.6" as (8, 6), in which order 10.0 is after 9.0."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,2}\.\d", value):
        major, minor = value.split(".")
        return int(major), int(minor)
    return value


class Card(Record):
    """A GPU as its maker describes it; of a card with two GPUs, one."""

    name: str
    memory_gib: float = Field(gt=0)
    bandwidth_gbs: float = Field(gt=0, description="peak of its memory, in 10^9 bytes a second")
    capability: Capability
    source: Source


class NumberFormats(Record):
    """The compute capabilities from which a number format is computed in hardware."""

    source: Source
    fp16: Capability
    int8: Capability
    bf16: Capability
    fp8: Capability


class _Cards(Record):
    number_formats: NumberFormats
    cards: tuple[Card, ...]


def find_card(name: str) -> Card:
    """Return the card that a user means: "M40", "rtx 4090", "A100 80GB".

    UsageError with the nearest for an unknown one. Upper and lower case, spaces and the words
    NVIDIA, Tesla and GeForce do not matter. Where a card was made with several sizes of memory, the
    name without a size is the smallest.
    """
    wanted = _plain(name)
    for card in cards():
        if wanted and _plain(card.name) == wanted:
            return card
        if wanted and f"{_family(card)}{card.memory_gib:g}gb" == wanted:
            return card
    alike = [card for card in cards() if wanted and _plain(card.name).startswith(wanted)]
    if len({_family(card) for card in alike}) == 1:
        return min(alike, key=lambda card: card.memory_gib)
    short = {_short(card.name): card.name for card in cards()}
    raise UsageError(
        f"unknown GPU {name!r}; {nearest(' '.join(_words(name)).upper(), short)}",
        cure="name one of these; or run it where the GPU is, without --gpu",
    )


def like(name: str) -> Card | None:
    """Return the card of the table that a driver's name ("NVIDIA H100 80GB HBM3") stands for."""
    words = set(_words(name))
    fitting = [card for card in cards() if set(_words(card.name)) <= words]
    return max(fitting, key=lambda card: len(_words(card.name)), default=None)


def formats(capability_: tuple[int, int]) -> list[str]:
    """Return the number formats below 32 bits that a GPU of a capability computes in hardware."""
    table = _table().number_formats
    names = ("fp16", "bf16", "int8", "fp8")
    return [name for name in names if capability_ >= getattr(table, name)]


def cards() -> tuple[Card, ...]:
    """Return every card of the table."""
    return _table().cards


@cache
def _table() -> _Cards:
    text = Path(__file__).with_name("cards.yaml").read_text(encoding="utf-8")
    return _Cards.model_validate(yaml.safe_load(text))


def _words(name: str) -> list[str]:
    split = re.sub(r"(\d)\s+gb\b", r"\1gb", name.lower())
    return [word for word in re.split(r"[\s_-]+", split) if word and word not in _FILLERS]


def _plain(name: str) -> str:
    return "".join(_words(name)).replace("gib", "gb")


def _short(name: str) -> str:
    return re.sub(r"^(Tesla|GeForce) ", "", name)


def _family(card: Card) -> str:
    """Return a card's name without its memory."""
    return re.sub(r"\d+gb$", "", _plain(card.name))
