"""Whether a method can run here, and why not."""

from __future__ import annotations

import pytest

from weightcut.compression.method import Requirements
from weightcut.hardware import probe
from weightcut.hardware.fits import check


def test_nothing_speaks_against_what_is_here() -> None:
    assert check(Requirements(packages=("json", "numpy"), base_memory=1), 1) is None


@pytest.mark.parametrize("package", ["not_there_at_all", "not_there.inside", "json.not_there"])
def test_a_missing_package_names_its_extra(package: str) -> None:
    reason = check(Requirements(packages=("json", package), extra="gptq"))
    assert reason == f'the package {package!r} is not installed (pip install "weightcut[gptq]")'


@pytest.mark.skipif(bool(probe.gpus()), reason="this machine has a GPU")
def test_no_gpu() -> None:
    assert check(Requirements(gpu=True)) == "it needs a GPU and this machine has none"


def test_memory_and_disk_grow_with_the_model() -> None:
    needs = Requirements(memory_per_weight=2.0, base_memory=1000, disk_per_weight=0.0)
    assert check(needs, 10**6) is None
    assert "of memory" in (check(needs, 10**15) or "")
    assert check(needs) is None
    disk = Requirements(memory_per_weight=0.0, base_memory=0, disk_per_weight=2.0)
    assert "of disk" in (check(disk, 10**15) or "")
