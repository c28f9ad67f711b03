from __future__ import annotations

from pathlib import Path

import pytest

from weightcut.analysis.prices import find_prices, read_prices
from weightcut.errors import WeightcutError
from weightcut.records import Prices


def _file(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text)
    return path


def test_the_nearest_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIGHTCUT_PRICES", raising=False)
    run, far, named = (tmp_path / name for name in ("run", "far", "named"))
    for folder in (run, far, named):
        folder.mkdir()
    assert find_prices(run) == Prices()
    monkeypatch.setenv("WEIGHTCUT_PRICES", str(_file(far, "currency: FAR")))
    assert find_prices(run).currency == "FAR"
    _file(run, "currency: RUN\nmachine_per_hour: 2")
    assert find_prices(run).machine_per_hour == 2
    assert find_prices(run, _file(named, "currency: NAMED")).currency == "NAMED"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currancy: EUR", "did you mean 'currency'"),
        ("machine_per_hour: -1", "machine_per_hour"),
        ("machine_per_hour: .nan", "machine_per_hour"),
        ("machine_per_hour: '3'", "machine_per_hour"),
        ("watts_per_core: true", "watts_per_core"),
        ("grid_g_per_kwh: .inf", "grid_g_per_kwh"),
        ("[1, 2]", "mapping"),
        ("", "mapping"),
        ("a: [", "not a YAML file"),
        ("currency: 2026-01-45", "not a YAML file"),
        ("!!python/object/apply:os.system [id]", "not a YAML file"),
        ("x: " + "a" * 200_000, "too large"),
        ("[" * 5000, "not a YAML file"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(WeightcutError, match=says) as error:
        read_prices(_file(tmp_path, text))
    assert str(tmp_path) in error.value.place


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightcutError, match="No such file"):
        read_prices(tmp_path / "none.yaml")
