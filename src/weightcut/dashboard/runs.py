"""The runs in a folder: where they are, how far they are, and their results, read and kept."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from weightcut.analysis.prices import FILE as PRICES
from weightcut.analysis.prices import VARIABLE, find_prices
from weightcut.errors import BrokenInput, WeightcutError
from weightcut.records import Cell, CellKey, Results
from weightcut.reports import json as json_report
from weightcut.store.run_store import FILE, RunStore
from weightcut.study.publish import at_work, read_run

DEFAULT = Path("runs")
STUDY = "study.yaml"
"""The study file that the dashboard writes into the folder of a run that it starts."""

Kind = Literal["new", "running", "finished", "failed", "stopped", "report", "unreadable"]
Revision = tuple[tuple[str, int, int], ...]
T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """How far a run is.

    done, failed, skipped, total: cells. says: why it cannot be read.
    """

    kind: Kind
    done: int = 0
    failed: int = 0
    skipped: int = 0
    total: int = 0
    says: str = ""

    @property
    def words(self) -> str:
        """The state in a few words."""
        names = {
            "new": "not begun",
            "running": "running",
            "finished": "finished",
            "failed": "finished with failures",
            "stopped": "stopped",
            "report": "results only",
            "unreadable": "cannot be read",
        }
        if self.kind in ("running", "stopped") and self.total:
            return f"{names[self.kind]}, {self.done} of {self.total} cells done"
        return names[self.kind]


def find_runs(place: Path) -> dict[str, Path]:
    """Return the runs of a folder by name, the newest first; the folder may itself be a run."""
    if _is_run(place):
        return {place.resolve().name: place}
    try:
        found = [path for path in place.iterdir() if path.is_dir() and _is_run(path)]
    except OSError:
        return {}
    found.sort(key=_touched, reverse=True)
    return {path.name: path for path in found}


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (FILE, json_report.FILE, STUDY))


def has_database(folder: Path) -> bool:
    """Return whether what was measured is there, not only the results."""
    return (folder / FILE).is_file()


def _touched(folder: Path) -> float:
    times = [0.0]
    for name in (FILE, f"{FILE}-wal", json_report.FILE, STUDY):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:  # not there, or gone meanwhile
            continue
    return max(times)


def revision(folder: Path) -> Revision:
    """Return what changes whenever the content of a run does."""
    prices = os.environ.get(VARIABLE, "")
    names = [folder / n for n in (FILE, f"{FILE}-wal", json_report.FILE, PRICES)]
    names += [Path(prices).expanduser()] if prices else []
    found = []
    for path in names:
        try:
            facts = path.stat()
        except OSError:
            continue
        found.append((str(path), facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def state(folder: Path) -> State:
    """Return how far a run is; never raises."""
    if not (folder / FILE).is_file():
        if (folder / json_report.FILE).is_file():
            return State("report")
        return State("running" if at_work(folder) else "new")
    try:
        counts = Counter(cell.state for cell in cells(folder))
    except WeightcutError as error:
        return State("unreadable", says=str(error))
    done, failed, skipped = counts["done"], counts["failed"], counts["skipped"]
    total = sum(counts.values())
    kind: Kind = "finished"
    if at_work(folder):
        kind = "running"
    elif counts["pending"] or counts["running"] or not total:
        kind = "stopped"
    elif failed:
        kind = "failed"
    return State(kind, done, failed, skipped, total)


def cells(folder: Path) -> list[Cell]:
    """Return all cells of a run; raises where it cannot be read."""
    return reading(folder, lambda store: store.cells())


def counts(folder: Path) -> dict[CellKey, int]:
    """Return how many observations each cell has."""
    return reading(folder, lambda store: store.counts())


def reading(folder: Path, read: Callable[[RunStore], T]) -> T:
    """Return what `read` finds in a run's database, which is opened for reading alone."""
    store = RunStore.open(folder, read_only=True)
    try:
        return read(store)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise BrokenInput(f"the results cannot be read: {reason}", place=str(folder)) from error
    except ValueError as error:
        raise BrokenInput(f"the results cannot be read: {error}", place=str(folder)) from error
    finally:
        store.close()


def results(folder: Path) -> Results:
    """Return a run's results, drawn anew only where something has changed.

    Of a run at work they are those of its finished cells, so that every new answer does not ask for
    a new analysis. Of a finished one its `results.json` serves where it is the newest file and was
    computed with the prices that hold now.
    """
    now = state(folder)
    if now.kind == "running":
        return _at_work(folder, now.done, now.failed, now.skipped)
    return _kept(folder, revision(folder))


@lru_cache(maxsize=16)
def _kept(folder: Path, files: Revision) -> Results:
    times = {Path(name).name: (time, size) for name, time, size in files}
    written = times.get(json_report.FILE, (0, 0))[0]
    log = times.get(f"{FILE}-wal", (0, 0))
    others = [t for name, (t, _) in times.items() if not name.startswith(FILE)]
    newest = max([*others, times.get(FILE, (0, 0))[0], log[0] if log[1] else 0], default=0)
    if written and written >= newest:
        try:
            found = json_report.read(folder / json_report.FILE)
            if found.prices == find_prices(folder).model_dump():
                return found
        except WeightcutError:
            pass  # a broken report is no loss while there is a database
    return read_run(folder)


@lru_cache(maxsize=8)
def _at_work(folder: Path, _done: int, _failed: int, _skipped: int) -> Results:
    return read_run(folder)
