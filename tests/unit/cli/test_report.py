from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from tests.studies import example_study
from typer.testing import CliRunner, Result

from weightcut.cli.aggregate import aggregate
from weightcut.cli.export import export
from weightcut.cli.report import report
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.store.run_store import RunStore
from weightcut.study.publish import read_run

app = typer.Typer()
for command in (report, aggregate, export):
    app.command(command.__name__)(command)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a database and nothing else."""
    folder = tmp_path_factory.mktemp("stored") / "run"
    study = example_study(samples=20, windows=4)
    store = RunStore.create(folder, study.spec)
    store.remember("conditions", study.conditions)
    store.remember("machine", study.machine)
    store.remember("started", "2026-11-20T10:00:00+00:00")
    wanted = [c for c in study.cells if c.key.variant in ("full", "ov-int8")]
    store.plan([cell.key for cell in wanted])
    for cell in wanted:
        store.update(cell.key, state="done", manifest=cell.manifest, seconds=cell.seconds)
        for observation in study.observations[cell.key]:
            store.add(cell.key, observation)
    store.close()
    return folder


@pytest.fixture
def run(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "run"))


def _invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def _sql(run: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(run / "results.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()


def test_formats_prices_and_folder(run: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: EUR\nmachine_per_hour: 1")
    done = _invoke("report", run, "-f", "json,csv,md", "-o", tmp_path / "out", "--prices", prices)
    assert done.exit_code == 0
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert data["prices"]["currency"] == "EUR"
    assert data["variants"][0]["cost"]["at"]["8"]["money_per_accepted"]["value"] > 0
    assert data["started"].startswith("2026-11-20")
    assert not (run / "results.json").exists()


def test_prices_need_what_was_measured(run: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("machine_per_hour: 1")
    _invoke("report", run, "-f", "json")
    with pytest.raises(UsageError, match="costs cannot be computed anew") as error:
        _invoke("report", run / "results.json", "--prices", prices)
    assert "run folder" in error.value.cure


def test_another_rendering_needs_the_results_alone(run: Path, tmp_path: Path) -> None:
    _invoke("report", run, "-f", "json")
    only = tmp_path / "only"
    only.mkdir()
    shutil.copy(run / "results.json", only)
    assert _invoke("report", only / "results.json", "-f", "md").exit_code == 0
    assert (only / "report.md").read_text().startswith("# example")


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run / "results.sqlite").write_bytes(b"not a database at all" * 100),
        lambda run: (run / "results.sqlite").unlink(),
        lambda run: _sql(run, "update meta set value = '9' where key = 'schema'"),
        lambda run: _sql(run, "update meta set value = '{}' where key = 'spec'"),
        lambda run: _sql(run, "drop table observations"),
        lambda run: (run / "results.sqlite").write_bytes(
            (run / "results.sqlite").read_bytes()[:5000]
        ),
    ],
    ids=["garbage", "gone", "newer", "spec", "table", "cut"],
)
def test_a_broken_run_shows_what_was_written(damage: object, run: Path) -> None:
    assert callable(damage)
    _invoke("report", run, "-f", "json")
    damage(run)
    done = _invoke("report", run, "-f", "md")
    assert done.exit_code == 0
    assert "shown from results.json as it was written, since:" in (run / "report.md").read_text()
    (run / "results.json").unlink()
    with pytest.raises((BrokenInput, UsageError)):
        read_run(run)


def test_a_read_only_folder_is_read(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = SimpleNamespace(access=lambda *_: False, W_OK=os.W_OK)  # root may write anywhere
    monkeypatch.setattr("weightcut.store.run_store.os", closed)
    before = {path.name for path in run.iterdir()}
    assert _invoke("report", run, "-f", "md", "-o", tmp_path / "out").exit_code == 0
    assert {path.name for path in run.iterdir()} == before


def test_a_run_at_work_is_told(run: Path) -> None:
    with (run / "run.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "at work" in read_run(run).warnings[0]
    assert not any("at work" in warning for warning in read_run(run).warnings)


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    study = example_study(samples=2, windows=2)
    RunStore.create(tmp_path / "run", study.spec).close()
    done = _invoke("report", tmp_path / "run", "-f", "md,csv,json")
    assert done.exit_code == 0
    assert "The study is not finished" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize("place", ["empty", "nowhere"])
def test_no_run(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no run here|no such run"):
        _invoke("report", tmp_path / place)


@pytest.mark.parametrize("formats", ["pfd", "", "md,,x"])
def test_unknown_formats(formats: str, run: Path) -> None:
    with pytest.raises(UsageError, match=r"--format"):
        _invoke("report", run, "--format", formats)


def test_a_folder_that_cannot_be_written(run: Path) -> None:
    with pytest.raises(NotHere, match="cannot write the report") as error:
        _invoke("report", run, "-f", "md", "-o", "/proc/nowhere")
    assert "--out" in error.value.cure


def test_runs_are_joined_in_order(run: Path, tmp_path: Path) -> None:
    later = Path(shutil.copytree(run, tmp_path / "more" / "a-later"))
    _sql(later, "update meta set value = ? where key = 'started'", '"2026-11-21T10:00:00+00:00"')
    shutil.copytree(run, tmp_path / "more" / "run")
    (tmp_path / "more" / "notes").mkdir()
    out = tmp_path / "summary.csv"
    done = _invoke("aggregate", tmp_path / "more", run, "-o", out, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["runs"] == ["more/run", f"{tmp_path.name}/run", "more/a-later"]
    with out.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == told["rows"]
    assert {row["run"] for row in found} == set(told["runs"])
    assert out.with_suffix(".svg").read_text().startswith("<svg")


def test_what_cannot_be_read_is_left_out_and_told(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "summary.csv"
    done = _invoke("aggregate", run, tmp_path / "empty", tmp_path / "none", "-o", out, "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["left_out"]) == 2
    assert out.is_file()
    with pytest.raises(UsageError, match="none of the runs"):
        _invoke("aggregate", tmp_path / "empty", "-o", out)


def test_export_without_mlflow_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mlflow", "mlflow.exceptions", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("weightcut.cli.export._KEPT", ("json",))
    with pytest.raises(NotHere, match="mlflow"):
        _invoke("export", run, "--mlflow", tmp_path / "store")
