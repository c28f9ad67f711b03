"""Every attack in Java succeeds with a naive judge, and none in the sandbox."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from tests.sandbox import java_field
from tests.sandbox.field import SANDBOXES, Outcome, open_field
from weightcut.sandbox import Kind, bubblewrap, missing

if reason := missing("java"):
    pytest.skip(reason, allow_module_level=True)


@functools.cache
def by_a_naive_judge() -> dict[str, bool]:
    with open_field() as field, tempfile.TemporaryDirectory() as folder:
        return java_field.naive(field, Path(folder))


@functools.cache
def in_the_sandbox(kind: Kind) -> dict[str, Outcome]:
    return java_field.attempt_all(kind)


def test_there_are_enough_attacks() -> None:
    assert len(java_field.NAMES) >= 60


@pytest.mark.parametrize("name", java_field.NAMES)
@pytest.mark.parametrize("kind", SANDBOXES)
def test_attack_is_stopped(kind: Kind, name: str) -> None:
    if kind == "bubblewrap" and (reason := bubblewrap.absent()):
        pytest.skip(reason)
    assert by_a_naive_judge()[name], "the attack does not work even without the sandbox"
    outcome = in_the_sandbox(kind)[name]
    assert outcome["status"] != "passed"
    assert outcome["harm"] == []


@pytest.mark.parametrize("kind", SANDBOXES)
def test_an_honest_program_passes_after_all_attacks(kind: Kind) -> None:
    if kind == "bubblewrap" and (reason := bubblewrap.absent()):
        pytest.skip(reason)
    assert in_the_sandbox(kind)["honest"]["status"] == "passed"
