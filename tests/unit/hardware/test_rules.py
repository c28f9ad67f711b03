"""The rules themselves: each has a source, says something of a part that exists, and fires."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from weightcut.hardware.cards import cards
from weightcut.hardware.rules import Device, Rule, rules
from weightcut.hardware.verdicts import devices, parts

ROOT = Path(__file__).resolve().parents[3]
GPUS = [devices(card)[1] for card in cards()]
CPUS = [
    Device(kind="cpu", name="old", architecture="x86_64"),
    Device(kind="cpu", name="avx2", architecture="x86_64", flags=frozenset({"avx2"})),
    Device(
        kind="cpu",
        name="new",
        architecture="x86_64",
        flags=frozenset({"avx2", "avx512f", "avx512_bf16"}),
    ),
    Device(kind="cpu", name="arm", architecture="aarch64", flags=frozenset({"asimd"})),
]
UNUSED_GPU = GPUS[-1].model_copy(update={"torch": "cpu"})
OLD_DRIVER = GPUS[-1].model_copy(update={"driver": 550})
EVERYWHERE = [*GPUS, *CPUS, UNUSED_GPU, OLD_DRIVER]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_every_rule_fires_somewhere_and_not_everywhere(rule: Rule) -> None:
    fired = [rule.fires(part, device) for part in parts() for device in EVERYWHERE]
    assert any(fired)
    assert not all(fired)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_a_rule_names_what_exists(rule: Rule) -> None:
    known = {part.name for part in parts()}
    needed = {package for part in parts() for package in part.packages}
    assert set(rule.parts.names) <= known
    assert set(rule.parts.packages) | set(rule.parts.without) <= needed


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.id)
def test_a_source_of_ours_is_there(rule: Rule) -> None:
    if not rule.source.startswith("https://"):
        assert (ROOT / rule.source).is_file()


def test_ids_are_unique() -> None:
    assert len({rule.id for rule in rules()}) == len(rules())


def test_a_reason_says_the_capability_of_the_device() -> None:
    said = {rule.said_of(device) for rule in rules() for device in EVERYWHERE}
    assert not [text for text in said if "{" in text]


GOOD = """
id: a-rule
device: gpu
parts: {packages: [torch]}
where: {capability_below: "5.0"}
verdict: not-here
reason: because
source: https://example.org/why
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: https://example.org/why", ""),
        ("https://example.org/why", "somebody told me"),
        ("not-here", "never"),
        ("capability_below", "capability_blow"),
        ('"5.0"', "five"),
        ("device: gpu", "device: tpu"),
    ],
)
def test_a_rule_with_a_mistake_is_refused(old: str, new: str) -> None:
    Rule.model_validate(yaml.safe_load(GOOD))
    assert old in GOOD
    with pytest.raises(ValidationError):
        Rule.model_validate(yaml.safe_load(GOOD.replace(old, new)))
