from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightcut.errors import BrokenInput, UsageError
from weightcut.records.results import Results
from weightcut.reports.json import read, write


def test_round_trip(results: Results, hostile: Results, tmp_path: Path) -> None:
    for study in (results, hostile):
        path = write(study, tmp_path)
        assert read(path) == study
        assert write(read(path), tmp_path / "again").read_bytes() == path.read_bytes()


def test_public_names_and_layout(results: Results, tmp_path: Path) -> None:
    text = write(results, tmp_path).read_text()
    data = json.loads(text)
    assert text.startswith('{\n  "schema": 1,\n  "study": "example"')
    assert text.endswith("}\n")
    assert "pass@1_retention" in data["variants"][1]["against_baseline"]
    assert {"value", "low", "high"} <= set(data["variants"][1]["tasks"]["humaneval"]["pass@1"])


def test_not_a_number_becomes_null(results: Results, tmp_path: Path) -> None:
    keep = {**results.keep, "share": float("nan")}
    path = write(results.model_copy(update={"keep": keep}), tmp_path)
    assert json.loads(path.read_text())["keep"]["share"] is None


def test_unknown_keys_are_kept(results: Results, tmp_path: Path) -> None:
    path = write(results, tmp_path)
    path.write_text(path.read_text().replace('"schema": 1,', '"schema": 1, "later": [1],'))
    again = write(read(path), tmp_path / "again")
    assert json.loads(again.read_text())["later"] == [1]


def test_bad_files_are_explained(results: Results, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "gone.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{"schema": 1}')
    with pytest.raises(BrokenInput, match=r"study: Field required"):
        read(broken)
    broken.write_text("[")
    with pytest.raises(BrokenInput, match="not the results of a study"):
        read(broken)
    newer = write(results, tmp_path)
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(UsageError, match="reads up to 1"):
        read(newer)
