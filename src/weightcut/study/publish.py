"""From a run's stored observations to its results and reports; needs no model and no re-run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from weightcut import registry
from weightcut.analysis.prices import find_prices
from weightcut.analysis.results import build_results
from weightcut.errors import BrokenInput, UsageError
from weightcut.files import write_whole
from weightcut.records import Results
from weightcut.reports import json as json_report
from weightcut.store.run_store import RunStore

FORMATS = ("json", "csv", "md", "html")


def analyse(folder: Path, prices: Path | None = None) -> Results:
    """Read a run and draw its conclusions.

    prices: a price file; else `prices.yaml` in the run folder or what WEIGHTCUT_PRICES names.
    """
    rates = find_prices(folder, prices)
    store = RunStore.open(folder, read_only=True)
    try:
        cells = store.cells()
        observations = {cell.key: store.observations(cell.key) for cell in cells}
        results = build_results(
            store.spec(), store.machine(), store.conditions(), cells, observations, rates
        )
        return results.model_copy(update={"started": store.fact("started")})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BrokenInput(
            f"the stored {error.title} cannot be read: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}",
            place=str(folder),
            cure="open it with the version of weightcut that made it",
        ) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise BrokenInput(f"the results cannot be read: {reason}", place=str(folder)) from error
    finally:
        store.close()


def read_run(place: Path, prices: Path | None = None) -> Results:
    """Return the results of a run folder or of a `results.json`, as far as they can be read.

    Where the folder's database is missing, broken or of another version, a `results.json` in it
    stands in, with a warning among the results; so does a run that is still at work get one.
    """
    if place.suffix == ".json" and place.is_file():
        if prices is not None:
            raise UsageError(
                "costs cannot be computed anew from the results alone",
                place=str(place),
                cure="name the run folder, which holds what was measured",
            )
        return json_report.read(place)
    if not place.is_dir():
        raise UsageError(
            "no such run folder", place=str(place), cure="name a folder that `weightcut run` wrote"
        )
    try:
        results = analyse(place, prices)
    except (BrokenInput, UsageError) as error:
        written = place / json_report.FILE
        if not written.is_file() or (prices is not None and error.place == str(prices)):
            raise
        results = json_report.read(written)
        note = f"shown from {json_report.FILE} as it was written, since: {error}"
        return results.model_copy(update={"warnings": [note, *results.warnings]})
    if at_work(place):
        note = "the run is at work: this is what it has measured so far"
        results = results.model_copy(update={"warnings": [note, *results.warnings]})
    return results


def at_work(folder: Path) -> bool:
    """Return whether a process is running the study of a folder now."""
    try:
        with (folder / "run.lock").open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def publish(folder: Path, formats: Sequence[str] = FORMATS) -> Results:
    """Write the reports and `samples.jsonl` (every answer with its scores) into the run folder."""
    results = analyse(folder)
    for name in formats:
        registry.load("report", name)(results, folder)
    write_samples(folder)
    return results


def write_samples(folder: Path) -> Path:
    """Write every generated answer with its scores, one JSON object a line."""
    store = RunStore.open(folder)
    path = folder / "samples.jsonl"
    lines = []
    try:
        for cell in store.cells():
            if cell.key.stage != "task":
                continue
            for one in store.observations(cell.key):
                if "text" in one.detail:
                    line = {"variant": cell.key.variant, "task": cell.key.task, **one.model_dump()}
                    lines.append(json.dumps(line, sort_keys=True))
    finally:
        store.close()
    write_whole(path, "".join(line + "\n" for line in lines).encode())
    return path
