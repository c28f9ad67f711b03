"""Every cell of a study before anything runs: what it will cost, what is skipped, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from weightcut.compression import recipe
from weightcut.compression.method import Requirements
from weightcut.errors import NotHere
from weightcut.hardware.fits import check
from weightcut.records import CellKey, Checkpoint, Record, Step, StudySpec, VariantSpec
from weightcut.study.build import artifact_key, fitted, open_engine
from weightcut.study.predict import Prediction, predict
from weightcut.study.worker import lacks, open_task


class PlannedCell(Record):
    """One cell: the steps that are run or were run for it, its prediction, why it is skipped."""

    key: CellKey
    steps: tuple[Step, ...]
    prediction: Prediction
    skip: str = ""
    cached: bool = False


class Plan(Record):
    """All cells in the order in which they run."""

    cells: tuple[PlannedCell, ...]

    @property
    def seconds(self) -> float:
        """Predicted wall seconds of all cells that are not skipped."""
        return sum(cell.prediction.seconds for cell in self.cells if not cell.skip)

    @property
    def memory(self) -> int:
        """Predicted peak resident bytes of the hungriest cell (cells run one after another)."""
        return max((cell.prediction.memory for cell in self.cells if not cell.skip), default=0)

    @property
    def disk(self) -> int:
        """Predicted bytes written by all cells together."""
        return sum(cell.prediction.disk for cell in self.cells if not cell.skip)


def make_plan(
    spec: StudySpec,
    checkpoint: Checkpoint,
    machine: dict[str, Any],
    artifacts: Path,
    only: Iterable[str] = (),
) -> Plan:
    """Plan a study; raises UsageError where a recipe does not fit its engine.

    only: names of variants to run; the baseline is always among them.
    """
    wanted = {spec.baseline, *only} if only else {v.name for v in spec.variants}
    variants = sorted(spec.variants, key=lambda v: v.name != spec.baseline)
    steps = {v.name: fitted(v.recipe, checkpoint.format, v.engine) for v in variants}
    reasons = {v.name: _why_not(v, steps[v.name]) for v in variants}
    lacking = {task.kind: lacks(open_task(task)) for task in spec.tasks}
    cells = []
    made: set[str] = set()
    for key in _keys(spec, [v for v in variants if v.name in wanted]):
        if lacking.get(key.task):
            nothing = Prediction(seconds=0, memory=0, disk=0)
            cells.append(
                PlannedCell(
                    key=key,
                    steps=steps[key.variant],
                    prediction=nothing,
                    skip=f"task {key.task}: {lacking[key.task]}",
                )
            )
            continue
        todo = steps[key.variant]
        if key.stage == "build":
            keys = [artifact_key(checkpoint, todo[: i + 1], spec.seed) for i in range(len(todo))]
            known = [i for i, k in enumerate(keys) if k in made or (artifacts / k).is_dir()]
            todo = todo[known[-1] + 1 :] if known else todo
            if not reasons[key.variant]:
                made.update(keys)
        cached = key.stage == "build" and not todo
        prediction = predict(spec, key, todo, checkpoint, int(machine.get("cores", 1)))
        skip = reasons[key.variant] or ("" if cached else _too_big(prediction, machine))
        cells.append(
            PlannedCell(
                key=key, steps=steps[key.variant], prediction=prediction, skip=skip, cached=cached
            )
        )
    return Plan(cells=tuple(cells))


def refuse_if_too_big(plan: Plan, machine: dict[str, Any]) -> None:
    """Raise NotHere where the whole study will not fit on the disk."""
    free = machine.get("disk_free_bytes")
    if free is not None and plan.disk > free:
        raise NotHere(
            f"the study needs about {plan.disk / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free",
            cure="free some, or set WEIGHTCUT_HOME to a larger disk",
        )


def _keys(spec: StudySpec, variants: list[VariantSpec]) -> Iterator[CellKey]:
    for variant in variants:
        yield CellKey(variant=variant.name, stage="build")
    for task in spec.tasks:
        for variant in variants:
            yield CellKey(variant=variant.name, stage="task", task=task.kind)
    if spec.profile is not None:
        for variant in variants:
            yield CellKey(variant=variant.name, stage="profile")


def _why_not(variant: VariantSpec, steps: tuple[Step, ...]) -> str:
    engine = open_engine(variant.engine)
    reason = check(Requirements(packages=engine.packages, extra=engine.extra))
    if reason:
        return f"engine {variant.engine.kind}: {reason}"
    return why_not(steps)


def why_not(steps: Iterable[Step]) -> str:
    """Return why a recipe cannot run on this machine, "" if it can."""
    for step in steps:
        reason = check(recipe.build(step).requirements())
        if reason:
            return f"method {step.kind}: {reason}"
    return ""


def _too_big(prediction: Prediction, machine: dict[str, Any]) -> str:
    available = machine.get("memory_available_bytes")
    if available is not None and prediction.memory > available:
        return (
            f"needs about {prediction.memory / 1e9:.1f} GB of memory, "
            f"{available / 1e9:.1f} GB are available"
        )
    return ""
