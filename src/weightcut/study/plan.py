"""Every cell of a study before anything runs: what it will cost, what is refused, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from weightcut import registry
from weightcut.compression import recipe
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.hardware import probe, verdicts
from weightcut.hardware.speed import REFERENCE, Speed, speed
from weightcut.models.shape import shape_of
from weightcut.records import CellKey, Checkpoint, Named, Record, Step, StudySpec, VariantSpec
from weightcut.store.artifacts import read_artifact
from weightcut.study.build import artifact_key, fitted, open_engine
from weightcut.study.nearest import amount, nearest_that_fits
from weightcut.study.predict import Prediction, Predictor
from weightcut.study.worker import lacks, open_task

_NOTHING = Prediction(seconds=0, memory=0, disk=0)


class PlannedCell(Record):
    """One cell: the steps that are run or were run for it, its prediction, why it is skipped.

    refused: it is skipped because it would not fit. note: what is so of it all the same.
    """

    key: CellKey
    steps: tuple[Step, ...]
    prediction: Prediction
    skip: str = ""
    refused: bool = False
    note: str = ""
    cached: bool = False


class Plan(Record):
    """All cells in the order in which they run; speed: of the machine, as it was predicted with."""

    cells: tuple[PlannedCell, ...]
    speed: Speed = REFERENCE

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

    A cell that would not fit into memory or on the disk is skipped, with the number and the nearest
    recipe that fits. only: names of variants to run; the baseline is always among them.
    """
    planner = _Planner(spec, checkpoint, machine, artifacts, {spec.baseline, *only} if only else ())
    return Plan(cells=tuple(planner.cells()), speed=planner.predictor.speed)


class _Planner:
    def __init__(
        self,
        spec: StudySpec,
        checkpoint: Checkpoint,
        machine: dict[str, Any],
        artifacts: Path,
        wanted: Iterable[str],
    ) -> None:
        self.spec, self.checkpoint, self.artifacts = spec, checkpoint, artifacts
        variants = sorted(spec.variants, key=lambda v: v.name != spec.baseline)
        self.variants = [v for v in variants if not wanted or v.name in wanted]
        self.steps = {v.name: fitted(v.recipe, checkpoint.format, v.engine) for v in self.variants}
        self.words = {v.name: _judged(v, self.steps[v.name]) for v in self.variants}
        self.lacking = {task.kind: lacks(open_task(task)) for task in spec.tasks}
        self.keys = {name: self._keys_of(steps) for name, steps in self.steps.items()}
        self.limits = (machine.get("memory_available_bytes"), machine.get("disk_free_bytes"))
        cards = [gpu.get("memory_bytes") for gpu in machine.get("gpus", ())]
        self.gpu_memory = max((size for size in cards if size), default=None)
        self.predictor = Predictor(
            spec,
            checkpoint,
            shape_of(checkpoint),
            self._speed(),
            verdicts.resident_bits(),
            self._sizes(),
            (self.limits[0], self.gpu_memory),
        )
        self.made: set[str] = set()
        self.unbuilt: dict[str, str] = {}  # variants that are not built, and why

    def cells(self) -> Iterator[PlannedCell]:
        for key in _all_keys(self.spec, self.variants):
            cell = self._build(key) if key.stage == "build" else self._measure(key)
            if cell.skip and key.stage == "build":
                self.unbuilt[key.variant] = cell.skip
            yield cell

    def _build(self, key: CellKey) -> PlannedCell:
        steps, keys = self.steps[key.variant], self.keys[key.variant]
        known = [i for i, k in enumerate(keys) if k in self.made or (self.artifacts / k).is_dir()]
        todo = steps[known[-1] + 1 :] if known else steps
        never, note = self.words[key.variant]
        cell = self._cell(key, todo, never, note, cached=not todo)
        if not cell.skip:
            self.made.update(keys)
        return cell

    def _measure(self, key: CellKey) -> PlannedCell:
        if why := self.lacking.get(key.task):
            return PlannedCell(
                key=key,
                steps=self.steps[key.variant],
                prediction=_NOTHING,
                skip=f"task {key.task}: {why}",
            )
        never, note = self.words[key.variant]
        if not never and key.variant in self.unbuilt:
            never = f"{key.variant} is not built"
        return self._cell(key, (), never, note)

    def _cell(
        self, key: CellKey, todo: Sequence[Step], never: str, note: str, cached: bool = False
    ) -> PlannedCell:
        steps = self.steps[key.variant]
        prediction = self.predictor.work(key, steps, todo).prediction()
        engine = self.spec.variant(key.variant).engine
        memory, disk = self.limits
        if key.stage != "build" and getattr(open_engine(engine), "gpu", False):
            memory = self.gpu_memory  # where its weights, keys and values lie
        excess = "" if never or cached else _excess(prediction, memory, disk)
        if excess:
            excess += nearest_that_fits(self.predictor, engine, steps, *self.limits)
        return PlannedCell(
            key=key,
            steps=steps,
            prediction=prediction,
            skip=never or excess,
            refused=bool(excess),
            note=note,
            cached=cached,
        )

    def _keys_of(self, steps: Sequence[Step]) -> list[str]:
        seed = self.spec.seed
        return [artifact_key(self.checkpoint, steps[: i + 1], seed) for i in range(len(steps))]

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of the variants' artifacts that are there already."""
        found = {}
        for name, keys in self.keys.items():
            if not keys:
                found[name] = self.checkpoint.bytes
            elif (folder := self.artifacts / keys[-1]).is_dir():
                with suppress(BrokenInput):  # it will be made again
                    found[name] = read_artifact(folder, verify=False).bytes
        return found

    def _speed(self) -> Speed:
        """Return the machine's speed; it is not measured for parts that compute nothing."""
        methods = [recipe.build(step) for steps in self.steps.values() for step in steps]
        packages = [m.requirements().packages for m in methods]
        packages += [open_engine(v.engine).packages for v in self.variants]
        return speed() if any(packages) else REFERENCE


def refuse_if_too_big(plan: Plan, machine: dict[str, Any], baseline: str) -> None:
    """Raise NotHere where the baseline, without which nothing compares, or the disk is too small.

    The disk has to hold what all cells together write.
    """
    for cell in plan.cells:
        if cell.refused and cell.key.variant == baseline:
            raise NotHere(f"the baseline {cell.skip}", place=str(cell.key))
    free = machine.get("disk_free_bytes")
    if free is not None and plan.disk > free:
        raise NotHere(
            f"the study needs about {amount(plan.disk)} of disk, {amount(free)} are free",
            cure="free some, or set WEIGHTCUT_HOME to a larger disk",
        )


def refuse_recipe(
    checkpoint: Checkpoint, steps: Sequence[Step], seed: int, artifacts: Path
) -> None:
    """Raise NotHere where making a recipe would not fit here, UsageError where it cannot run.

    steps: with their conversions. What was made before of them is not made again.
    """
    if reason := why_not(steps):
        raise UsageError(reason)
    keys = [artifact_key(checkpoint, steps[: i + 1], seed) for i in range(len(steps))]
    known = [i for i, key in enumerate(keys) if (artifacts / key).is_dir()]
    todo = steps[known[-1] + 1 :] if known else steps
    if not todo:
        return
    made = recipe.build(steps[-1]).produces
    engines = ((n, registry.load("engine", n)) for n in registry.names("engine"))
    opening = (n for n, e in engines if made in e.accepts and not getattr(e, "gpu", False))
    engine = Named(kind=next(opening, "transformers"))
    variant = VariantSpec(name="recipe", engine=engine, recipe=tuple(steps))
    spec = StudySpec(
        study="", model="", baseline="recipe", variants=(variant,), tasks=(), profile=None
    )
    predictor = Predictor(spec, checkpoint, shape_of(checkpoint), resident=verdicts.resident_bits())
    prediction = predictor.work(CellKey(variant="recipe", stage="build"), steps, todo).prediction()
    limits = (probe.memory_available(), probe.disk_free(artifacts))
    if excess := _excess(prediction, *limits):
        nearest = nearest_that_fits(predictor, engine, steps, *limits)
        raise NotHere(f"making it {excess}{nearest}", place=" | ".join(s.label() for s in steps))


def why_not(steps: Iterable[Step]) -> str:
    """Return why a recipe cannot run on this machine, "" if it can."""
    return _methods_judged(steps)[0]


def _all_keys(spec: StudySpec, variants: list[VariantSpec]) -> Iterator[CellKey]:
    for variant in variants:
        yield CellKey(variant=variant.name, stage="build")
    for task in spec.tasks:
        for variant in variants:
            yield CellKey(variant=variant.name, stage="task", task=task.kind)
    if spec.profile is not None:
        for variant in variants:
            yield CellKey(variant=variant.name, stage="profile")


def _judged(variant: VariantSpec, steps: Iterable[Step]) -> tuple[str, str]:
    """Return why a variant cannot run here, and what else is to be said of it; both may be ""."""
    kind = variant.engine.kind
    part = verdicts.part_of("engine", open_engine(variant.engine))
    found = verdicts.best(part, verdicts.devices())
    never, note = _methods_judged(steps)
    if found.verdict == "not-here":
        return f"engine {kind}: {found.said()}", ""
    if found.verdict == "slow":
        note = "; ".join(filter(None, (f"slow: {found.said()}", note)))
    return never, note


def _methods_judged(steps: Iterable[Step]) -> tuple[str, str]:
    """Return why a recipe cannot run here by the doctor's rules, and where it is slow."""
    notes = []
    for step in steps:
        part = verdicts.part_of("method", recipe.build(step))
        found = verdicts.best(part, verdicts.devices())
        if found.verdict == "not-here":
            return f"method {step.kind}: {found.said()}", ""
        if found.verdict == "slow":
            notes.append(f"slow: {step.kind}: {found.said()}")
    return "", "; ".join(notes)


def _excess(prediction: Prediction, memory: int | None, disk: int | None) -> str:
    """Return what a cell would need beyond what is there, with the numbers; "" if it fits."""
    for what, state, needed, there in (
        ("memory", "available", prediction.memory, memory),
        ("disk", "free", prediction.disk, disk),
    ):
        if there is not None and needed > there:
            return f"needs about {amount(needed)} of {what}, {amount(there)} are {state}"
    return ""
