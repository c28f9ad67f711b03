from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weightcut.errors import NotHere
from weightcut.records.results import Results
from weightcut.reports.mlflow import _name, _shown, export


def test_without_the_package_the_cure_is_told(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("mlflow", "mlflow.exceptions", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NotHere, match="mlflow") as error:
        export(results, str(tmp_path))
    assert error.value.cure == 'pip install "weightcut[mlflow]"'


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("task/humaneval/pass@1", "task/humaneval/pass_at_1"),
        ("a/../b", "a/_/b"),
        ("émoji 🦥=x", "_moji __x"),
        ("x" * 300, "x" * 240),
    ],
)
def test_names_in_the_letters_that_mlflow_takes(key: str, name: str) -> None:
    assert _name(key) == name


def test_passwords_are_not_shown() -> None:
    assert _shown("http://me:secret@host:5000/x") == "http://host:5000/x"


def test_a_study_in_a_local_store(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow.tracking import MlflowClient

    kept = tmp_path / "kept.txt"
    kept.write_text("x")
    store = str(tmp_path / "store")
    ids = export(results, store, None, [kept])
    assert set(ids) == {"", *(v.name for v in results.variants)}
    client = MlflowClient(store)
    run = client.get_run(ids["ov-int8"])
    passed = results.variants[2].tasks["humaneval"]["pass@1"]["value"]
    assert run.data.metrics["task/humaneval/pass_at_1"] == pytest.approx(passed)
    assert run.data.tags["mlflow.parentRunId"] == ids[""]
    assert run.data.tags["verdict"] == "retained"
    assert run.data.params["recipe"] == "int8"
    assert [f.path for f in client.list_artifacts(ids[""])] == ["kept.txt"]
    again = export(results, store)
    assert again[""] != ids[""]
