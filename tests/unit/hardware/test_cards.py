"""The table of GPUs, and finding a card in it by the name that a user or a driver gives."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightcut.errors import UsageError
from weightcut.hardware.cards import capability, cards, find_card, formats, like


def test_every_card_is_found_by_its_name_and_by_its_name_with_its_memory() -> None:
    assert len({card.name for card in cards()}) == len(cards())
    for card in cards():
        assert find_card(card.name) == card
        assert find_card(f"NVIDIA {card.name.lower()}") == card
        if not card.name.endswith("GB"):
            assert find_card(f"{card.name} {card.memory_gib:g} GB") == card


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("M40", "Tesla M40"),
        ("m40 24 gb", "Tesla M40 24GB"),
        ("rtx4090", "GeForce RTX 4090"),
        ("2080-ti", None),
        ("RTX 2080", "GeForce RTX 2080"),
        ("A100", "A100 40GB"),
        ("L4", "L4"),
        ("Tesla V100 16GB", "Tesla V100"),
        ("Jetson", "Jetson AGX Orin 64GB"),
    ],
)
def test_names_that_people_use(said: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(UsageError, match="unknown GPU"):
            find_card(said)
    else:
        assert find_card(said).name == name


@pytest.mark.parametrize(("said", "near"), [("M400", "M40"), ("RTX 4091", "RTX 4090")])
def test_an_unknown_card_names_the_nearest(said: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        find_card(said)


@given(st.text(max_size=40))
def test_any_text_is_a_card_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert find_card(text) in cards()


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("Tesla V100-SXM2-32GB", "Tesla V100 32GB"),
        ("NVIDIA GeForce RTX 2080 Ti", "GeForce RTX 2080 Ti"),
        ("NVIDIA A10G", None),
        ("", None),
    ],
)
def test_what_the_driver_calls_a_card(driver: str, name: str | None) -> None:
    found = like(driver)
    assert (found.name if found else None) == name


def test_capabilities_are_numbers_and_not_text() -> None:
    assert capability("10.0") > capability("9.0")
    assert capability("5.2") == (5, 2)
    assert capability(None) is None


def test_number_formats_by_capability() -> None:
    assert formats((5, 2)) == []
    assert formats((7, 5)) == ["fp16", "int8"]
    assert formats((8, 0)) == ["fp16", "bf16", "int8"]
    assert formats((9, 0)) == ["fp16", "bf16", "int8", "fp8"]
