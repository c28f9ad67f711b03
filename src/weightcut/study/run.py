"""Running a study: every cell in its own process, every result kept, resumable at any moment."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from weightcut.compression import recipe
from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.records import Artifact, CellKey, Checkpoint, Results, StudySpec
from weightcut.settings import artifacts_folder
from weightcut.store.artifacts import ArtifactStore, read_artifact
from weightcut.store.run_store import FILE, RunStore
from weightcut.study.build import open_engine
from weightcut.study.conditions import hold_conditions, hold_machine, other_versions, run_conditions
from weightcut.study.executor import Outcome, Workers
from weightcut.study.likelihood import lost_windows, reference_folder
from weightcut.study.plan import Plan, PlannedCell, make_plan, refuse_if_too_big
from weightcut.study.publish import publish
from weightcut.study.worker import Job

RETRIES = 1
SLOWEST = 20.0  # times its prediction that a cell may take
SHORTEST_TIMEOUT = 1800.0
_ANALYSIS_ONLY = ("variants", "keep", "target")


@dataclass(frozen=True)
class Event:
    """What a run tells while it goes on.

    share: of the cell, 0 to 1 or None. left: predicted seconds until the whole study is done.
    """

    kind: Literal["planned", "started", "progress", "finished", "failed", "skipped"]
    cell: str = ""
    phrase: str = ""
    share: float | None = None
    left: float | None = None
    plan: Plan | None = None


Listener = Callable[[Event], None]


def run_study(
    spec: StudySpec,
    out: Path,
    *,
    only: Iterable[str] = (),
    listen: Listener = lambda _event: None,
    artifacts: Path | None = None,
    timeout: float | None = None,
) -> Results:
    """Run what of the study is not done yet and write its reports; returns the results.

    out: the run folder. only: variants to run now (the baseline is always among them).
    timeout: wall seconds for each cell. A killed or interrupted run goes on where it stopped.
    """
    for name in only:
        if name not in {v.name for v in spec.variants}:
            raise UsageError(
                f"unknown variant {name!r}; {nearest(name, [v.name for v in spec.variants])}"
            )
    with (
        _only_run(out) as held,
        closing(_open(spec, out)) as store,
        closing(Workers(held, out / "logs" / "workers.log")) as workers,
    ):
        run = _Run(store, workers, artifacts or artifacts_folder(), listen, timeout)
        run.everything(tuple(only))
    return publish(out)


@dataclass
class _Run:
    store: RunStore
    workers: Workers
    artifacts: Path
    listen: Listener
    timeout: float | None
    spec: StudySpec = field(init=False)
    checkpoint: Checkpoint = field(init=False)

    def everything(self, only: tuple[str, ...]) -> None:
        from weightcut.hardware.probe import machine
        from weightcut.models.resolve import resolve

        self.spec = self.store.spec()
        self.checkpoint = resolve(
            self.spec.model,
            progress=lambda phrase, share: self.listen(Event("progress", "model", phrase, share)),
        )
        here = machine()
        self.store.plan(list(_all_keys(self.spec)))
        now = run_conditions(self.spec, self.checkpoint)
        hold_conditions(self.store, now)
        hold_machine(self.store, here)
        plan = make_plan(self.spec, self.checkpoint, here, self.artifacts, only)
        self._reopen_lost_references(plan)
        if self._reopen_lost_builds(plan):
            plan = make_plan(self.spec, self.checkpoint, here, self.artifacts, only)
        self.store.remember("speed", plan.speed.model_dump())
        todo = [cell for cell in plan.cells if not self._done(cell.key)]
        refuse_if_too_big(Plan(cells=tuple(todo)), here, self.spec.baseline)
        self.listen(Event("planned", plan=Plan(cells=tuple(todo))))
        for change in other_versions(self.store.conditions(), now) if todo else ():
            self.listen(Event("progress", "versions", change))
        clock = _Clock(sum(c.prediction.seconds for c in todo if not c.skip))
        for cell in plan.cells:
            if not self._done(cell.key):
                self._one(cell, clock)

    def _reopen_lost_builds(self, plan: Plan) -> bool:
        """Have those artifacts made again that are gone or damaged and that a cell still needs."""
        todo = (cell for cell in plan.cells if not cell.skip and not self._done(cell.key))
        builds = {CellKey(variant=cell.key.variant, stage="build") for cell in todo}
        lost = [key for key in builds if self._done(key) and self._lost(key)]
        for key in lost:
            self.store.update(key, state="pending")
        return bool(lost)

    def _reopen_lost_references(self, plan: Plan) -> None:
        """Have the baseline's distributions made again that a cell needs and that are gone."""
        todo = (cell.key for cell in plan.cells if not cell.skip and not self._done(cell.key))
        for task in {key.task for key in todo if key.stage == "task" and self._likelihood(key)}:
            base = CellKey(variant=self.spec.baseline, stage="task", task=task)
            windows = (window for window, _ in self.store.finished(base))
            folder = reference_folder(self.store.folder, task)
            if self._done(base) and lost_windows(folder, windows):
                self.store.update(base, state="pending")

    def _lost(self, key: CellKey) -> bool:
        """Return whether what a build has made is no longer there, whole."""
        artifact = self._artifact(key)
        if artifact is None or not artifact.recipe:  # the model itself was just read
            return False
        try:
            read_artifact(artifact.path)
        except BrokenInput:
            return not ArtifactStore(artifact.path.parent).intact(artifact.path.name)
        return False

    def _artifact(self, key: CellKey) -> Artifact | None:
        cell = self.store.cell(key)
        facts = cell.manifest.get("artifact") if cell else None
        return Artifact.model_validate(facts) if facts else None

    def _measure_anew(self, variant: str) -> None:
        """Forget what was measured of an artifact that another one has replaced.

        Of the baseline's, also what was measured against it: divergences are stored as such.
        """
        for cell in self.store.cells():
            key = cell.key
            mine = key.variant == variant and key.stage != "build"
            against = variant == self.spec.baseline and key.stage == "task"
            if mine or (against and self._likelihood(key)):
                self.store.clear(key)
                self.store.update(key, state="pending")

    def _done(self, key: CellKey) -> bool:
        cell = self.store.cell(key)
        return cell is not None and cell.state == "done"

    def _one(self, cell: PlannedCell, clock: _Clock) -> None:
        reason = cell.skip or self._blocked(cell.key)
        name = str(cell.key)
        if reason:
            self.store.update(cell.key, state="skipped", reason=reason)
            self.listen(Event("skipped", name, reason))
            clock.passed(cell.prediction.seconds, 0.0)
            return
        before = self._artifact(cell.key)
        outcome = self._attempts(cell, clock)
        clock.passed(cell.prediction.seconds, outcome.seconds)
        if outcome.manifest is None:
            self.store.update(cell.key, state="failed", error=outcome.error)
            self.listen(Event("failed", name, outcome.error, left=clock.left()))
            return
        self.store.update(
            cell.key,
            state="done",
            error="",
            manifest=outcome.manifest
            | {"predicted": cell.prediction.model_dump(), "seconds": outcome.seconds},
        )
        made = self._artifact(cell.key)
        if before is not None and made is not None and made.digest != before.digest:
            self._measure_anew(cell.key.variant)
        self.listen(Event("finished", name, f"{outcome.seconds:.0f} s", left=clock.left()))

    def _attempts(self, cell: PlannedCell, clock: _Clock) -> Outcome:
        name = str(cell.key)
        job = Job(
            folder=self.store.folder.resolve(),
            key=cell.key,
            checkpoint=self.checkpoint,
            artifacts=self.artifacts,
        )
        log = self.store.folder / "logs" / f"{cell.key.variant}.{name.rpartition('/')[2]}.log"
        limit = self.timeout or max(SHORTEST_TIMEOUT, SLOWEST * cell.prediction.seconds)
        known = self.store.cell(cell.key)
        attempts, spent = (known.attempts, known.seconds) if known else (0, 0.0)
        self.listen(Event("started", name, left=clock.left()))
        outcome = Outcome(manifest=None)
        for _ in range(RETRIES + 1):
            attempts += 1
            self.store.update(cell.key, state="running", attempts=attempts, error="", reason="")
            try:
                outcome = self.workers.run(
                    job,
                    log,
                    limit,
                    lambda event: self.listen(
                        Event("progress", name, event["phrase"], event["share"], clock.left())
                    ),
                    self._packages(cell),
                )
            except KeyboardInterrupt:
                self.store.update(cell.key, state="pending")
                raise
            spent += outcome.seconds
            self.store.update(cell.key, seconds=spent)
            if outcome.manifest is not None or outcome.certain:
                break
            self.listen(Event("progress", name, f"attempt {attempts} failed: {outcome.error}"))
        return outcome

    def _packages(self, cell: PlannedCell) -> set[str]:
        """Return what a cell's process imports."""
        if cell.key.stage != "build":
            return set(open_engine(self.spec.variant(cell.key.variant).engine).packages)
        methods = () if cell.cached else map(recipe.build, cell.steps)
        return {name for method in methods for name in method.requirements().packages}

    def _blocked(self, key: CellKey) -> str:
        """Return why a cell cannot run now: what it rests on did not succeed."""
        if key.stage == "build":
            return ""
        needed = [CellKey(variant=key.variant, stage="build")]
        if key.stage == "task" and key.variant != self.spec.baseline:
            needed.append(key.model_copy(update={"variant": self.spec.baseline}))
        for other in needed:
            if not self._done(other) and (other.stage == "build" or self._likelihood(key)):
                return f"{other} did not succeed"
        return ""

    def _likelihood(self, key: CellKey) -> bool:
        from weightcut.study.worker import open_task

        return (
            open_task(next(t for t in self.spec.tasks if t.kind == key.task)).mode == "likelihood"
        )


class _Clock:
    """Time left: what is predicted of the rest, corrected by how predictions held so far."""

    def __init__(self, predicted: float) -> None:
        self._rest = predicted
        self._predicted = self._taken = 0.0
        self._start = time.monotonic()

    def passed(self, predicted: float, taken: float) -> None:
        self._rest -= predicted
        if taken:
            self._predicted += predicted
            self._taken += taken
        self._start = time.monotonic()

    def left(self) -> float:
        # One pseudo-minute at face value, so that the first cell does not swing the whole.
        factor = (self._taken + 60.0) / (self._predicted + 60.0)
        return max(0.0, self._rest * factor - (time.monotonic() - self._start))


@contextmanager
def _only_run(out: Path) -> Iterator[int]:
    """Hold the run folder's lock; a second run in it is refused."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        stream = (out / "run.lock").open("a+")
    except OSError as error:
        raise UsageError(f"cannot write to the run folder: {error}", place=str(out)) from error
    with stream:
        if not _locked(stream):
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise UsageError(
                f"another run is at work in this folder (process {holder})",
                place=str(out),
                cure="wait for it, or choose another --out",
            )
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield stream.fileno()


def _locked(stream: IO[str]) -> bool:
    """Take the lock; whoever only asks whether a run is at work holds it for a moment."""
    for _ in range(20):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _open(spec: StudySpec, out: Path) -> RunStore:
    if not RunStore.exists(out):
        store = RunStore.create(out, spec)
        store.remember("started", datetime.now(UTC).isoformat(timespec="seconds"))
        return store
    store = RunStore.open(out)
    old = store.spec()
    unlike = _unlike(old, spec)
    if unlike:
        store.close()
        raise UsageError(
            f"the folder holds a run of another study ({', '.join(unlike)})",
            place=str(out / FILE),
            cure="choose another --out, or delete the folder",
        )
    if spec != old:
        store.remember("spec", spec.model_dump(mode="json"))
    return store


def _unlike(old: StudySpec, new: StudySpec) -> list[str]:
    """Return what differs so that results could not stand side by side.

    New variants may be added, and verdicts may be drawn at another margin, without measuring again.
    """
    was, now = old.model_dump(mode="json"), new.model_dump(mode="json")
    unlike = [
        f"{key}: {_short(was[key])} there, {_short(now[key])} here"
        for key in was
        if key not in _ANALYSIS_ONLY and was[key] != now[key]
    ]
    kept = {v.name: v for v in new.variants}
    return unlike + [
        f"variant {v.name} is {'gone' if v.name not in kept else 'another'}"
        for v in old.variants
        if kept.get(v.name) != v
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _all_keys(spec: StudySpec) -> Iterator[CellKey]:
    for variant in spec.variants:
        yield CellKey(variant=variant.name, stage="build")
        for task in spec.tasks:
            yield CellKey(variant=variant.name, stage="task", task=task.kind)
        if spec.profile is not None:
            yield CellKey(variant=variant.name, stage="profile")
