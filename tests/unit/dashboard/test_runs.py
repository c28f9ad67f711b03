from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from pathlib import Path

import pytest
from tests.dashboard_runs import small_study, write_run

from weightcut.dashboard import runs
from weightcut.errors import WeightcutError
from weightcut.records import Cell
from weightcut.reports import json as json_report
from weightcut.store.run_store import FILE, RunStore


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one")


def _state_of(tmp_path: Path, **changes: str) -> runs.State:
    def change(cell: Cell) -> Cell:
        wanted = changes.get(cell.key.stage)
        return cell if wanted is None else cell.model_copy(update={"state": wanted})

    return runs.state(write_run(tmp_path / "run", small_study(samples=2, windows=1), change))


def test_a_finished_run(made: Path) -> None:
    state = runs.state(made)
    assert (state.kind, state.done, state.total) == ("finished", 28, 28)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ({"profile": "failed"}, "failed"),
        ({"profile": "pending"}, "stopped"),
        ({"profile": "running"}, "stopped"),
        ({"profile": "skipped"}, "finished"),
    ],
)
def test_the_state_follows_the_cells(tmp_path: Path, cells: dict[str, str], kind: str) -> None:
    assert _state_of(tmp_path, **cells).kind == kind


def test_a_run_whose_lock_is_held_is_running(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", small_study(samples=2, windows=1))
    with (folder / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runs.state(folder).kind == "running"
    assert runs.state(folder).kind == "finished"


def test_folders_without_a_run_are_not_shown(tmp_path: Path, made: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("x")
    assert runs.find_runs(tmp_path) == {}
    assert runs.find_runs(tmp_path / "absent") == {}
    assert runs.find_runs(made.parent) == {"one": made}
    assert runs.find_runs(made) == {"one": made}


def test_a_newer_schema_and_a_broken_database_are_told(tmp_path: Path) -> None:
    newer = write_run(tmp_path / "newer", small_study(samples=2, windows=1))
    with sqlite3.connect(newer / FILE) as connection:
        connection.execute("update meta set value = '99' where key = 'schema'")
    connection.close()
    state = runs.state(newer)
    assert state.kind == "unreadable"
    assert "schema 99" in state.says
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / FILE).write_bytes(b"SQLite format 3\0 and then nothing")
    assert runs.state(broken).kind == "unreadable"
    with pytest.raises(WeightcutError):
        runs.results(broken)


def test_reading_changes_nothing_in_the_folder(made: Path) -> None:
    def listing() -> dict[str, tuple[int, bytes]]:
        return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in made.iterdir()}

    before = listing()
    runs.state(made)
    runs.results(made)
    runs.counts(made)
    assert listing() == before


def test_nothing_can_be_written_through_a_reading_store(made: Path) -> None:
    from sqlalchemy.exc import OperationalError

    store = RunStore.open(made, read_only=True)
    with pytest.raises(OperationalError, match="readonly"):
        store.remember("spec", {})
    store.close()


def test_results_are_kept_until_something_changes(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", small_study(samples=2, windows=1))
    first = runs.results(folder)
    assert runs.results(folder) is first
    (folder / "prices.yaml").write_text("machine_per_hour: 1.0\ncurrency: EUR\n")
    assert runs.results(folder).prices["currency"] == "EUR"


def test_a_results_file_newer_than_the_database_serves(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", small_study(samples=2, windows=1))
    json_report.write(runs.results(folder), folder)
    data = json.loads((folder / json_report.FILE).read_text())
    (folder / json_report.FILE).write_text(json.dumps(data | {"study": "as written"}))
    assert runs.results(folder).study == "as written"
    (folder / json_report.FILE).write_text("{half")
    assert runs.results(folder).study == "example"


def test_results_without_a_database(tmp_path: Path, made: Path) -> None:
    folder = tmp_path / "only"
    folder.mkdir()
    json_report.write(runs.results(made), folder)
    assert runs.state(folder).kind == "report"
    assert runs.results(folder).study == "example"


def test_a_results_file_serves_only_with_the_prices_that_hold_now(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", small_study(samples=2, windows=1))
    prices = folder / "prices.yaml"
    prices.write_text("machine_per_hour: 1\n")
    written = runs.results(folder).model_copy(update={"study": "as written"})
    json_report.write(written, folder)
    assert runs.results(folder).study == "as written"
    prices.unlink()
    assert runs.results(folder).prices["machine_per_hour"] is None
    prices.write_text("machine_per_hour: 2\n")
    os.utime(prices, (0, 0))
    assert runs.results(folder).prices["machine_per_hour"] == 2
