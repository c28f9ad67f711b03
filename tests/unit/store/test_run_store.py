"""The results database."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import CellKey, Named, Observation, StudySpec, VariantSpec
from weightcut.store.run_store import FILE, RunStore

SPEC = StudySpec(
    study="s",
    model="m",
    baseline="a",
    variants=(VariantSpec(name="a", engine=Named(kind="scripted")),),
    tasks=(Named(kind="humaneval"),),
)
KEY = CellKey(variant="a", stage="task", task="humaneval")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore.create(tmp_path, SPEC)
    made.plan([KEY])
    return made


def test_what_is_added_is_read_by_the_next_process(store: RunStore) -> None:
    observation = Observation(sample="1", values={"passed": 1.0}, detail={"text": "é\x00"})
    store.add(KEY, observation)
    store.update(KEY, state="done", manifest={"x": 1})
    again = RunStore.open(store.folder)
    assert again.spec() == SPEC
    assert again.observations(KEY) == [observation]
    assert again.finished(KEY) == {("1", 0)}
    (cell,) = again.cells()
    assert (cell.state, cell.manifest) == ("done", {"x": 1})


@pytest.mark.parametrize("name", ["what?", "a?mode=ro", "50%20", "#1", "a b", "é&uri=true"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = RunStore.create(tmp_path / name, SPEC)
    store.plan([KEY])
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    reading = RunStore.open(tmp_path / name, read_only=True)
    assert [cell.key for cell in reading.cells()] == [KEY]
    with pytest.raises(OperationalError, match="readonly"):
        reading.plan([CellKey(variant="b", stage="build")])


def test_a_sample_is_kept_once(store: RunStore) -> None:
    observation = Observation(sample="1", values={})
    store.add(KEY, observation)
    with pytest.raises(IntegrityError):
        store.add(KEY, observation)
    store.add(KEY, observation.model_copy(update={"repeat": 1}))
    assert len(store.observations(KEY)) == 2
    store.clear(KEY)
    assert store.observations(KEY) == []


def test_an_observation_of_an_unknown_cell_is_refused(store: RunStore) -> None:
    with pytest.raises(IntegrityError):
        store.add(CellKey(variant="b", stage="build"), Observation(sample="1", values={}))


def test_planning_twice_adds_nothing(store: RunStore) -> None:
    store.update(KEY, state="done")
    store.plan([KEY])
    assert [cell.state for cell in store.cells()] == ["done"]


def test_many_threads_may_write(store: RunStore) -> None:
    def write(start: int) -> None:
        for i in range(start, start + 10):
            store.add(KEY, Observation(sample=str(i), values={"x": i}))

    threads = [threading.Thread(target=write, args=(10 * t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.finished(KEY)) == 80


def test_no_run_and_a_broken_one_and_another_schema(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        RunStore.open(tmp_path)
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to be one" * 50)
    with pytest.raises(BrokenInput, match="not a results database"):
        RunStore.open(tmp_path)
    (tmp_path / FILE).unlink()
    RunStore.create(tmp_path, SPEC).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("update meta set value = '0' where key = 'schema'")
    connection.close()
    with pytest.raises(UsageError, match="schema 0"):
        RunStore.open(tmp_path)


def test_a_run_killed_while_it_is_made_leaves_no_run(tmp_path: Path) -> None:
    for name in ("results.sqlite.new", "results.sqlite.new-wal"):
        (tmp_path / name).write_bytes(b"half")
    assert not RunStore.exists(tmp_path)
    assert RunStore.create(tmp_path, SPEC).spec() == SPEC
    assert {path.name for path in tmp_path.iterdir()} <= {
        "results.sqlite", "results.sqlite-wal", "results.sqlite-shm"
    }  # fmt: skip
