"""The machine's speed is measured once a day, and a record that is no such is measured anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightcut.hardware import speed as module
from weightcut.hardware.speed import FILE, REFERENCE, Speed, speed

FAST = Speed(gemm=1e13, read=1e11, dispatch=1e-7, start=1.0)


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Speed]:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path))
    made: list[Speed] = []

    def measured() -> Speed:
        made.append(FAST)
        return FAST

    monkeypatch.setattr(module, "_measured_elsewhere", measured)
    return made


def test_it_is_measured_once(calls: list[Speed]) -> None:
    assert speed() == speed() == FAST
    assert len(calls) == 1


@pytest.mark.parametrize(
    "record",
    [
        "", "[]", '{"speed": 3}', "{", '{"machine": 1, "at": "x", "speed": {}}',
        '{"machine": "KEY", "at": 9e99, "kept_s": 9, "speed": SPEED}',
        '{"machine": "KEY", "at": 0, "kept_s": 9, "speed": SPEED}',
        '{"machine": "another", "at": NOW, "kept_s": 999, "speed": SPEED}',
        '{"machine": "KEY", "at": NOW, "kept_s": 999, "speed": {"gemm": -1}}',
        '{"machine": "KEY", "at": NOW, "kept_s": 999, "speed": {"gemm": "inf", "more": 1}}',
    ],
)  # fmt: skip
def test_what_is_old_foreign_or_broken_is_measured_anew(
    record: str, tmp_path: Path, calls: list[Speed]
) -> None:
    speed()
    good = json.loads((tmp_path / FILE).read_text())
    record = record.replace("KEY", good["machine"]).replace("NOW", str(good["at"]))
    (tmp_path / FILE).write_text(record.replace("SPEED", json.dumps(good["speed"])))
    assert speed() == FAST
    assert len(calls) == 2


def test_what_a_busy_machine_gave_is_soon_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    speed()
    busy = json.loads((tmp_path / FILE).read_text())["kept_s"]
    (tmp_path / FILE).unlink()
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    speed()
    assert busy < json.loads((tmp_path / FILE).read_text())["kept_s"] / 10


def test_where_it_cannot_be_measured_the_reference_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_measured_elsewhere", lambda: None)
    assert speed() == REFERENCE
    assert not (tmp_path / FILE).exists()


def test_a_folder_that_cannot_be_written_to_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "file" / "inside"))
    assert speed() == FAST
