"""The training curves that a run's artifacts carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from weightcut.dashboard import runs
from weightcut.dashboard.runs import Revision
from weightcut.records import Cell
from weightcut.reports.text import finite

READINGS = ("loss", "held_out_loss", "learning_rate", "tokens_per_s", "seconds", "peak_rss_bytes")
Point = Mapping[str, float]


@dataclass(frozen=True)
class Training:
    """One training step of one variant; every reading of a point may be missing.

    facts: what else its record says, plain figures alone.
    """

    variant: str
    method: str
    points: Sequence[Point]
    trainable: int | None
    total: int | None
    facts: Mapping[str, float]

    @property
    def name(self) -> str:
        """What the training is called in charts."""
        return f"{self.variant}: {self.method}"

    def last(self, reading: str) -> float | None:
        """Return the last value of a reading."""
        found = [point[reading] for point in self.points if reading in point]
        return found[-1] if found else None

    def peak(self, reading: str) -> float | None:
        """Return the largest value of a reading."""
        return max((point[reading] for point in self.points if reading in point), default=None)


def trainings(folder: Path) -> Sequence[Training]:
    """Return every training of a run whose artifact is there; the same object while it stays so."""
    return _trainings(folder, runs.revision(folder))


@lru_cache(maxsize=8)
def _trainings(folder: Path, _files: Revision) -> Sequence[Training]:
    return tuple(one for cell in runs.cells(folder) for one in _of_cell(cell))


def _of_cell(cell: Cell) -> Iterator[Training]:
    artifact = cell.manifest.get("artifact")
    details = artifact.get("details") if isinstance(artifact, Mapping) else None
    if not isinstance(details, Mapping):
        return
    for method, record in details.items():
        if isinstance(record, Mapping) and (points := _points(record)):
            yield Training(
                variant=cell.key.variant,
                method=str(method),
                points=points,
                trainable=_whole(
                    record.get("trainable_parameters", record.get("trained_parameters"))
                ),
                total=_whole(record.get("total_parameters")),
                facts={
                    str(key): known
                    for key, value in record.items()
                    if (known := finite(value)) is not None and not key.endswith("_parameters")
                },
            )


def _points(record: Mapping[Any, Any]) -> list[Point]:
    """Return the curve's points by step, in order; older records have lists of losses instead."""
    merged: dict[float, dict[str, float]] = {}
    for entry in _listed(record, "curve"):
        if isinstance(entry, Mapping) and (step := finite(entry.get("step"))) is not None:
            known = {name: v for name in READINGS if (v := finite(entry.get(name))) is not None}
            merged.setdefault(step, {}).update(known)
    if not merged:
        merged = _older(record)
    return [{"step": step, **merged[step]} for step in sorted(merged) if merged[step]]


def _older(record: Mapping[Any, Any]) -> dict[float, dict[str, float]]:
    merged: dict[float, dict[str, float]] = {}
    for number, entry in enumerate(_listed(record, "loss_curve"), start=1):
        if (loss := finite(entry)) is not None:
            merged.setdefault(float(number), {})["loss"] = loss
    before = record.get("validation_before")
    tests = [{"step": 0, **before}] if isinstance(before, Mapping) else []
    for entry in [*tests, *_listed(record, "validation")]:
        if isinstance(entry, Mapping) and (step := finite(entry.get("step"))) is not None:
            loss = finite(entry.get("eval_loss", entry.get("loss")))
            if loss is not None:
                merged.setdefault(step, {})["held_out_loss"] = loss
    return merged


def _listed(record: Mapping[Any, Any], key: str) -> list[Any]:
    found = record.get(key)
    return list(found) if isinstance(found, list | tuple) else []


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
