"""Which recipes are suggested for a model, and in which order."""

from __future__ import annotations

import pytest

from weightcut.compression import recipe
from weightcut.hardware import fits, probe
from weightcut.hardware.cards import find_card
from weightcut.hardware.rules import SEVERITY, Device
from weightcut.hardware.suggest import Suggestion, suggest
from weightcut.hardware.verdicts import devices

CPU = Device(
    kind="cpu",
    name="a CPU",
    memory=16 << 30,
    architecture="x86_64",
    flags=frozenset({"avx2", "avx512f", "avx512_bf16"}),
)


@pytest.fixture(autouse=True)
def much_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "_installed", lambda _package: True)
    monkeypatch.setattr(probe, "memory_available", lambda: 1 << 40)
    monkeypatch.setattr(probe, "disk_free", lambda _folder: 1 << 40)


def at(card: str, parameters: int) -> tuple[Suggestion, ...]:
    return suggest(parameters, "hf", [CPU, devices(find_card(card))[1]])


def test_memory_is_weights_times_bits() -> None:
    by_name = {(one.recipe, one.engine, one.device): one for one in at("H100", 7_000_000_000)}
    assert by_name["bnb-nf4", "transformers", "H100"].weight_bytes == 3_500_000_000
    assert by_name["", "transformers", "H100"].weight_bytes == 14_000_000_000
    unpacked = by_name["gptq", "transformers", "H100"]
    assert unpacked.weight_bytes == 3_500_000_000
    assert unpacked.memory_bytes > 14_000_000_000
    for engine in ("vllm", "tensorrt"):
        packed = by_name["gptq", engine, "H100"]
        assert packed.weight_bytes < packed.memory_bytes < 5_000_000_000


def test_what_fits_and_works_comes_first_and_the_faster_before_the_slower() -> None:
    found = at("RTX 3090", 7_000_000_000)
    order = [(not one.fits, SEVERITY.index(one.verdict)) for one in found]
    assert order == sorted(order)
    here = [one for one in found if one.device == "GeForce RTX 3090"]
    assert found[0] == here[0]
    assert found[0].recipe in {"awq", "gptq"}, "4 bit in memory, by engines with kernels for it"
    assert found[0].engine in {"tensorrt", "vllm"}
    names = [one.recipe for one in here if one.engine == "transformers"]
    assert names[0] == "bnb-nf4"
    assert names.index("") < names.index("gptq"), "no gain in speed and memory, some loss"
    assert names.index("bnb-nf4") < names.index("bnb-fp4")


def test_a_card_that_cannot_leaves_the_work_to_the_cpu() -> None:
    found = at("M40", 1_000_000_000)
    assert found[0].device == CPU.name
    assert ("bnb-nf4", "Tesla M40") not in {(one.recipe, one.device) for one in found}


def test_what_does_not_fit_says_how_much_it_takes() -> None:
    [one] = [
        one
        for one in at("RTX 2060", 7_000_000_000)
        if (one.device, one.engine, one.recipe) == ("GeForce RTX 2060", "transformers", "")
    ]
    assert not one.fits
    assert "15.1 GB of memory and 6.4 GB are there" in one.reason


def test_making_it_must_fit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "memory_available", lambda: 8 << 30)
    by_name = {(one.recipe, one.engine): one for one in suggest(7_000_000_000, "hf", [CPU])}
    int4 = by_name["int4", "openvino"]
    assert not int4.fits
    assert int4.reason.startswith("to make it, export-openvino: it needs about")


def test_every_recipe_is_one_that_compress_takes() -> None:
    for one in at("H100", 1_000_000_000):
        assert len(recipe.parse_recipe(one.recipe)) == (1 if one.recipe else 0)


def test_a_scripted_model_has_its_own_engine_alone() -> None:
    assert {one.engine for one in suggest(1000, "scripted", [CPU])} == {"scripted"}
