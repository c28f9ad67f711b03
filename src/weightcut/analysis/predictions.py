"""What each cell was predicted to cost, beside what it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from weightcut.records import Cell
from weightcut.records.results import CellCost, Results

_SHORTEST = 1.0  # seconds; a cell that found its work done says nothing about predictions


def cell_costs(cells: Iterable[Cell]) -> list[CellCost]:
    """Return predicted and measured costs of the cells that are done, in their order."""
    found = []
    for cell in cells:
        told, predicted = cell.manifest, cell.manifest.get("predicted") or {}
        if cell.state != "done" or not predicted:
            continue
        found.append(
            CellCost(
                cell=str(cell.key),
                predicted_seconds=_number(predicted, "seconds"),
                seconds=_number(told, "seconds"),
                cpu_seconds=_number(told, "cpu_seconds"),
                predicted_memory_bytes=_number(predicted, "memory"),
                peak_rss_bytes=_number(told, "peak_rss_bytes"),
                predicted_disk_bytes=_number(predicted, "disk"),
            )
        )
    return found


def median_errors(results: Results) -> tuple[float | None, float | None, int]:
    """Return the median relative errors of memory and of time, and of how many cells.

    |predicted - measured| / measured, over the cells that took at least a second.
    """
    cells = [c for c in results.cells if (c.seconds or 0.0) >= _SHORTEST]
    memory = [_error(c.predicted_memory_bytes, c.peak_rss_bytes) for c in cells]
    seconds = [_error(c.predicted_seconds, c.seconds) for c in cells]
    return _median(memory), _median(seconds), len(cells)


def _error(predicted: float | None, measured: float | None) -> float | None:
    return abs(predicted - measured) / measured if predicted is not None and measured else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _number(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
