"""From a run's stored observations to its results and reports; needs no model and no re-run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from weightcut import registry
from weightcut.analysis.prices import find_prices
from weightcut.analysis.results import build_results
from weightcut.files import write_whole
from weightcut.records import Results
from weightcut.store.run_store import RunStore

FORMATS = ("json", "csv", "md", "html")


def analyse(folder: Path, prices: Path | None = None) -> Results:
    """Read a run and draw its conclusions.

    prices: a price file; else `prices.yaml` in the run folder or what WEIGHTCUT_PRICES names.
    """
    rates = find_prices(folder, prices)
    store = RunStore.open(folder)
    try:
        cells = store.cells()
        observations = {cell.key: store.observations(cell.key) for cell in cells}
        return build_results(
            store.spec(), store.machine(), store.conditions(), cells, observations, rates
        )
    finally:
        store.close()


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
