from __future__ import annotations

from pathlib import Path

import pytest

from weightcut.profiling.energy import Counter, EnergyMeter, rapl_counters, visible_gpus


def _zone(root: Path, number: str, name: str, micro: int, span: int = 262_143_328_850) -> Path:
    zone = root / f"intel-rapl:{number}"
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{name}\n")
    (zone / "energy_uj").write_text(f"{micro}\n")
    (zone / "max_energy_range_uj").write_text(f"{span}\n")
    return zone


def test_packages_and_memory_count_and_no_part_twice(tmp_path: Path) -> None:
    for number, name in enumerate(("package-0", "package-1", "psys")):
        _zone(tmp_path, str(number), name, 10_000_000)
    for number, name in enumerate(("core", "uncore", "dram")):
        _zone(tmp_path, f"0:{number}", name, 1_000_000)
    counters = rapl_counters(tmp_path)
    assert [c.name for c in counters] == ["intel-rapl:0", "intel-rapl:0:2", "intel-rapl:1"]
    assert sum(c.read() for c in counters) == pytest.approx(21.0)


def test_counters_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    zone = _zone(tmp_path, "0", "package-0", 1)
    (zone / "energy_uj").unlink()
    _zone(tmp_path, "1", "package-1", 1).joinpath("max_energy_range_uj").write_text("lots")
    assert rapl_counters(tmp_path) == []
    assert rapl_counters(tmp_path / "nowhere") == []


def test_a_counter_may_go_round(tmp_path: Path) -> None:
    zone = _zone(tmp_path, "0", "package-0", 262_143_000_000)
    meter = EnergyMeter(rapl_counters(tmp_path), [])
    meter.start()
    (zone / "energy_uj").write_text("5000000")
    assert meter.used().cpu == pytest.approx(262_143.328_85 - 262_143.0 + 5.0)


def test_without_counters_nothing_is_told() -> None:
    meter = EnergyMeter([], [])
    meter.start()
    assert meter.used() == (None, None)


def test_a_counter_that_may_have_gone_round_twice_is_not_believed() -> None:
    readings = iter([1.0, 2.0])
    meter = EnergyMeter([Counter("small", lambda: next(readings), 1e-12)], [])
    meter.start()
    assert meter.used().cpu is None


@pytest.mark.parametrize(
    ("said", "visible"),
    [(None, [0, 1, 2]), ("", []), ("-1", []), ("1", [1]), ("2, 0", [2, 0]), ("GPU-ab", [0, 1, 2])],
)
def test_visible_gpus(
    said: str | None, visible: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert visible_gpus(3) == visible
