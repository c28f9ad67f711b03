"""What is said of the registered methods and engines, on cards of which it is known."""

from __future__ import annotations

import pytest

from weightcut import registry
from weightcut.hardware import fits
from weightcut.hardware.cards import cards, find_card
from weightcut.hardware.rules import Device, Part
from weightcut.hardware.verdicts import Judgement, best, devices, judge, parts

NEW_CPU = Device(
    kind="cpu",
    name="a CPU",
    architecture="x86_64",
    flags=frozenset({"avx2", "avx512f", "avx512_bf16"}),
)


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "_installed", lambda _package: True)


def on(card: str, name: str) -> Judgement:
    [part] = [part for part in parts() if part.name == name]
    return judge(part, devices(find_card(card))[1])


def test_every_method_and_engine_of_the_registry_has_a_verdict_everywhere() -> None:
    named = {(part.kind, part.name) for part in parts()}
    assert named == {(kind, name) for kind in ("method", "engine") for name in registry.names(kind)}
    for part in parts():
        for device in (NEW_CPU, *(devices(card)[1] for card in cards())):
            judged = judge(part, device)
            if judged.verdict != "works":
                assert judged.worst[0].reason
                # That a GPU is needed is declared by the part itself.
                assert judged.worst[0].source or (part.gpu_only and device is NEW_CPU)


@pytest.mark.parametrize(
    ("card", "name", "verdict"),
    [
        ("M40", "bnb-nf4", "not-here"),
        ("P100", "bnb-nf4", "slow"),
        ("P40", "bnb-int8", "not-here"),
        ("T4", "bnb-int8", "slow"),
        ("RTX 3090", "bnb-int8", "works"),
        ("H100", "bnb-nf4", "works"),
        ("K80", "transformers", "not-here"),
        ("V100", "transformers", "slow"),
        ("H200", "transformers", "works"),
        ("H100", "openvino", "not-here"),
        ("H100", "torchao-int4", "not-here"),
        ("H100", "scripted", "not-here"),
        ("L4", "distill", "works"),
    ],
)
def test_what_is_known_of_these_cards(card: str, name: str, verdict: str) -> None:
    assert on(card, name).verdict == verdict


def test_an_old_card_is_told_why_and_what_to_do() -> None:
    [finding] = on("Tesla M40", "bnb-nf4").worst
    assert "compute capability 6.0 or more; this is 5.2" in finding.reason
    assert "LoRA at 16 bit with offload, or GPTQ on the CPU" in finding.instead
    assert finding.source.startswith("https://github.com/bitsandbytes")
    reasons = " ".join(finding.reason for finding in on("Tesla M40", "transformers").findings)
    assert "only its CUDA 12.6 build has kernels for 5.2" in reasons


def test_what_an_engine_unpacks_takes_16_bits_in_its_memory_alone() -> None:
    assert on("H100", "gptq").resident_bits == {"transformers": 16}
    assert on("H100", "bnb-nf4").resident_bits == {}


def test_training_on_a_cpu_is_slow_and_an_old_cpu_lacks_kernels() -> None:
    by_name = {part.name: part for part in parts()}
    assert judge(by_name["distill"], NEW_CPU).verdict == "slow"
    assert judge(by_name["bnb-nf4"], NEW_CPU).verdict == "works"
    old = NEW_CPU.model_copy(update={"flags": frozenset({"fma"})})
    assert judge(by_name["bnb-nf4"], old).verdict == "not-here"
    assert judge(by_name["transformers"], old).verdict == "slow"
    assert judge(by_name["openvino"], old).verdict == "works"


def test_a_gpu_beside_a_pytorch_for_cpus_is_not_used() -> None:
    gpu = devices(find_card("H100"))[1].model_copy(update={"torch": "cpu"})
    [part] = [part for part in parts() if part.name == "transformers"]
    assert judge(part, gpu).verdict == "not-here"
    assert best(part, (gpu, NEW_CPU)).device == NEW_CPU.name


def test_a_gpu_of_unknown_capability_is_told_so() -> None:
    gpu = Device(kind="gpu", name="odd")
    [part] = [part for part in parts() if part.name == "transformers"]
    assert "compute capability" in judge(part, gpu).findings[0].reason


def test_what_needs_a_gpu_is_not_for_a_cpu() -> None:
    part = Part(kind="method", name="one", packages=("torch",), gpu_only=True)
    assert judge(part, NEW_CPU).worst[0].reason == "it needs a GPU"
    assert judge(part, devices(find_card("H100"))[1]).verdict == "works"


def test_a_missing_package_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "_installed", lambda package: package != "llmcompressor")
    judged = on("H100", "gptq")
    assert judged.verdict == "not-here"
    assert 'pip install "weightcut[compress]"' in judged.worst[0].reason


def test_a_part_that_cannot_be_imported_says_so() -> None:
    broken = Part(kind="method", name="lost", broken="it cannot be imported: gone")
    assert judge(broken, NEW_CPU).worst[0].reason == "it cannot be imported: gone"
