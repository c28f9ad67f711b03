"""Searching methods and settings: a cheap proxy for all, execution for the few that pass it.

Optuna proposes recipes (TPE on two objectives, divergence and cost); each is built and its KL
divergence from the baseline measured on a few windows of text. What diverges too far is rejected
there. What is then on the frontier of divergence and cost is measured whole, by the same study
runner as everything else, and judged by its verdict: the safest first, so that there is a winner
early, then the cheaper ones by bisection.

In the folder: `trials.sqlite` (Optuna's), `proxy/` and `final/` (runs), `winner/` (the artifact).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from weightcut.compression import recipe
from weightcut.errors import NotHere, UsageError, WeightcutError, missing_extra
from weightcut.files import whole_folder
from weightcut.records import Checkpoint, Keep, Record, Results, StudySpec, VariantSpec, digest
from weightcut.records.results import VariantResult
from weightcut.settings import artifacts_folder
from weightcut.store.run_store import RunStore
from weightcut.study.estimate import Estimator
from weightcut.study.run import Event, Listener, run_study
from weightcut.study.space import Way
from weightcut.study.spec import load_study

Goal = Literal["latency", "memory", "size"]
BASELINE = "full"
AT_ONCE = 3  # recipes that are proposed, built and judged by the proxy together
PROXY_SHARE = 0.6  # of the budget; the rest is for execution
_TICK = 5.0  # seconds
PATIENCE = 12  # proposals in a row that were tried before, after which nothing new is left
_WINDOWS = {"name": "perplexity", "limit": 4, "length": 256}
_STORAGE = "trials.sqlite"


class Trial(Record):
    """A recipe that was tried.

    kl: nats per token on the proxy's windows. cost: what is minimized, as the proxy has it: bytes
    of the artifact, or the predicted seconds of an answer or bytes of memory.
    """

    variant: VariantSpec
    state: Literal["passed", "rejected", "failed"]
    kl: float | None = None
    cost: float | None = None
    reason: str = ""


class Tuned(Record):
    """What came of a search; results: of the recipes that were measured whole."""

    trials: tuple[Trial, ...]
    winner: str | None
    reason: str
    spent: float
    results: Results
    artifact: Path | None = None


@dataclass
class Search:
    """A search in a folder, which may have been begun before.

    engine: of the baseline. budget: wall seconds over all the times that it was run.
    """

    folder: Path
    model: str
    checkpoint: Checkpoint
    ways: Sequence[Way]
    keep: Keep
    goal: Goal
    tasks: Sequence[Mapping[str, Any]]
    engine: str = "transformers"
    budget: float = 1200.0
    seed: int = 0
    listen: Listener = lambda _event: None
    artifacts: Path = field(default_factory=artifacts_folder)

    def run(self) -> Tuned:
        """Search until the budget's share is spent or nothing new is left, then measure."""
        self._spec("final", self.tasks, {})  # a task that is not known is told before any work
        self.folder.mkdir(parents=True, exist_ok=True)
        study = self._optuna()
        clock = _Clock(study, self.budget)
        tried = self._tried(study)
        self._propose_defaults(study)
        while clock.left(PROXY_SHARE) > 0:
            asked = self._ask(study, tried, clock)
            if not asked:
                break
            self._judge(study, asked, tried, clock)
            clock.tick()
        passed = [trial for trial in tried.values() if trial.state == "passed"]
        results = self._measure(_frontier(passed), clock)
        clock.tick()
        winner, reason = choose(results, self.goal, len(passed))
        artifact = self._keep_artifact(winner)
        return Tuned(
            trials=tuple(tried.values()),
            winner=winner,
            reason=reason,
            spent=clock.spent,
            results=results,
            artifact=artifact,
        )

    @cached_property
    def _estimator(self) -> Estimator:
        return Estimator(self._spec("proxy", [_WINDOWS], None), self.checkpoint)

    def _optuna(self) -> Any:
        """Open the study of Optuna; one of another question is refused."""
        try:
            import optuna
        except ImportError as error:
            raise missing_extra("optuna", "tune") from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        from sqlalchemy import URL

        trials = URL.create("sqlite", database=str(self.folder / _STORAGE))
        study = optuna.create_study(
            study_name="weightcut",
            storage=trials.render_as_string(),
            load_if_exists=True,
            directions=["minimize", "minimize"],
            sampler=optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=4),
        )
        asked = digest(
            [self.checkpoint.digest, self.goal, self.keep.model_dump(mode="json"), self.seed,
             [way.model_dump(mode="json") for way in self.ways], list(map(dict, self.tasks))]
        )  # fmt: skip
        known = study.user_attrs.setdefault("asked", asked)
        if known != asked:
            raise UsageError(
                "the folder holds a search for something else",
                place=str(self.folder),
                cure="ask the same again to go on with it, or choose another -o",
            )
        study.set_user_attr("asked", asked)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # it was killed
        return study

    def _tried(self, study: Any) -> dict[str, Trial]:
        """Return what was tried before, by name."""
        told = [trial.user_attrs.get("trial") for trial in study.get_trials()]
        found = [Trial.model_validate(one) for one in told if one]
        return {one.variant.name: one for one in found}

    def _propose_defaults(self, study: Any) -> None:
        """Have every way tried as it comes, the quickest to build first."""
        if study.get_trials():
            return
        order = sorted(self.ways, key=lambda way: self._estimator.seconds(way.variant({})))
        for way in order:
            method: Any = recipe.build(recipe.step(way.kind, {}))
            values = {f"{way.kind}.{name}": getattr(method, name) for name in way.settings}
            study.enqueue_trial({"way": way.name, **values})

    def _ask(
        self, study: Any, tried: Mapping[str, Trial], clock: _Clock
    ) -> list[tuple[Any, VariantSpec]]:
        """Return new proposals as long as time is predicted to be left for them."""
        import optuna

        found = list[tuple[Any, VariantSpec]]()
        names, stale, seconds = set(tried), 0, 0.0
        while len(found) < AT_ONCE and stale < PATIENCE:
            trial = study.ask()
            variant = self._suggested(trial)
            if variant.name in names:
                stale += 1
                before = tried.get(variant.name)
                if before is None or before.kl is None or before.cost is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, [before.kl, before.cost])
                continue
            seconds += self._estimator.seconds(variant)
            if found and seconds > clock.left(PROXY_SHARE):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                break
            names.add(variant.name)
            found.append((trial, variant))
        return found

    def _suggested(self, trial: Any) -> VariantSpec:
        by_name = {way.name: way for way in self.ways}
        way = by_name[trial.suggest_categorical("way", sorted(by_name))]
        return way.variant(
            {
                name: trial.suggest_categorical(f"{way.kind}.{name}", list(values))
                for name, values in way.settings.items()
            }
        )

    def _judge(
        self,
        study: Any,
        asked: Sequence[tuple[Any, VariantSpec]],
        tried: dict[str, Trial],
        clock: _Clock,
    ) -> None:
        """Build what was proposed, measure its divergence, and tell both to Optuna."""
        import optuna

        results = self._run("proxy", [variant for _, variant in asked], [_WINDOWS], None, clock)
        by_name = {one.name: one for one in results.variants}
        if broken := by_name[BASELINE].errors:
            raise WeightcutError(
                f"the model as it is cannot be measured, so nothing compares: {broken[0]}",
                place=str(self.folder / "proxy"),
            )
        skipped = {one.cell.partition("/")[0]: one.reason for one in results.skipped}
        for trial, variant in asked:
            made = self._trial(variant, by_name[variant.name], skipped.get(variant.name, ""))
            tried[variant.name] = made
            trial.set_user_attr("trial", made.model_dump(mode="json"))
            if made.kl is None or made.cost is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, [made.kl, made.cost])

    def _trial(self, variant: VariantSpec, found: VariantResult, skipped: str) -> Trial:
        kl = next((task.get("kl") for task in found.tasks.values()), None)
        if found.errors or skipped or not isinstance(kl, int | float):
            reason = (found.errors or [skipped or "nothing was measured"])[0]
            return Trial(variant=variant, state="failed", reason=reason)
        cost = self._estimator.cost(variant, self.goal)
        if self.goal == "size" and found.artifact_bytes is not None:
            cost = float(found.artifact_bytes)
        if kl > self.keep.kl_limit:
            reason = f"KL {kl:.3g} nats per token, at most {self.keep.kl_limit:g} pass"
            return Trial(variant=variant, state="rejected", kl=kl, cost=cost, reason=reason)
        return Trial(variant=variant, state="passed", kl=kl, cost=cost)

    def _measure(self, finalists: Sequence[Trial], clock: _Clock) -> Results:
        """Measure the baseline, then one finalist after another while there is time for it."""
        results, took = self._run("final", [], self.tasks, {}, clock), 0.0
        kept = dict[str, bool]()
        while trial := next_finalist(finalists, kept):
            if kept and clock.left(1.0) < took:
                break
            start = time.monotonic()
            results = self._run("final", [trial.variant], self.tasks, {}, clock)
            took = time.monotonic() - start
            name = trial.variant.name
            kept[name] = any(v.name == name and v.verdict == "retained" for v in results.variants)
        return results

    def _run(
        self,
        name: str,
        more: Sequence[VariantSpec],
        tasks: Sequence[Mapping[str, Any]],
        profile: Mapping[str, Any] | None,
        clock: _Clock,
    ) -> Results:
        """Add variants to a run of this search and run what of it is not done."""

        def listen(event: Event) -> None:
            clock.tick_now_and_then()
            self.listen(event)

        out = self.folder / name
        spec = self._spec(name, tasks, profile)
        before: tuple[VariantSpec, ...] = spec.variants
        if RunStore.exists(out):
            store = RunStore.open(out)
            before = store.spec().variants
            store.close()
        known = {variant.name for variant in before}
        new = tuple(variant for variant in more if variant.name not in known)
        spec = spec.model_copy(update={"variants": before + new})
        return run_study(spec, out, listen=listen, artifacts=self.artifacts)

    def _spec(
        self, name: str, tasks: Sequence[Mapping[str, Any]], profile: Mapping[str, Any] | None
    ) -> StudySpec:
        keep = self.keep.model_dump(mode="json")
        if name == "proxy":  # it is judged by its divergence, whatever is to be kept in the end
            keep |= {"metric": "perplexity", "task": ""}
        return load_study(
            {
                "study": f"tune-{name}",
                "model": self.model,
                "variants": {BASELINE: {"engine": self.engine, "recipe": []}},
                "tasks": [dict(task) for task in tasks],
                "profile": dict(profile) if profile is not None else None,
                "keep": keep,
                "seed": self.seed,
            }
        )

    def _keep_artifact(self, winner: str | None) -> Path | None:
        """Copy the winner's artifact into the folder, whole or not at all."""
        target = self.folder / "winner"
        shutil.rmtree(target, ignore_errors=True)
        if winner is None or winner == BASELINE:
            return None
        store = RunStore.open(self.folder / "final")
        try:
            builds = [c for c in store.cells() if str(c.key) == f"{winner}/build"]
        finally:
            store.close()
        if not builds or "artifact" not in builds[0].manifest:
            raise WeightcutError("the winner was not built", place=winner)
        with whole_folder(target) as draft:
            shutil.copytree(builds[0].manifest["artifact"]["path"], draft, dirs_exist_ok=True)
        return target


def choose(results: Results, goal: Goal, passed: int) -> tuple[str | None, str]:
    """Return the variant that keeps quality and costs least as measured, and why in a sentence."""
    known = [(cost, v.name) for v in results.variants if (cost := measured(v, goal)) is not None]
    kept = {v.name for v in results.variants if v.verdict in ("retained", "baseline")}
    if not known:
        raise NotHere("nothing was measured: not even the baseline ran", place=results.study)
    cost, name = min(((c, n) for c, n in known if n in kept), default=(None, None))
    if name is None or name == results.baseline:
        others, open_ = (
            len(results.variants) - 1,
            [v.name for v in results.variants if v.verdict == "undecided"],
        )
        undecided = f"; undecided: {', '.join(open_)} (more samples would tell)" if open_ else ""
        return name, (
            f"nothing is shown to keep the quality and cost less: {passed} recipes passed the "
            f"proxy, {others} of them were measured{undecided}"
        )
    base = measured(next(v for v in results.variants if v.name == results.baseline), goal)
    ratio = f", {base / cost:.2f} times less than the model as it is" if base and cost else ""
    return name, f"it keeps the quality and has the least {goal} of what was measured{ratio}"


def measured(variant: VariantResult, goal: Goal) -> float | None:
    """Return what a variant costs: milliseconds of a whole answer (p50), or bytes."""
    if goal == "size":
        return variant.artifact_bytes
    if variant.profile is None:
        return None
    if goal == "memory":
        return variant.profile.peak_rss_bytes
    return variant.profile.latency_ms.p50


def _frontier(passed: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in divergence and in cost, the cheapest first."""
    ordered = sorted(passed, key=lambda t: (t.cost or 0.0, t.kl or 0.0))
    found, best = list[Trial](), float("inf")
    for trial in ordered:
        if (trial.kl or 0.0) < best:
            best = trial.kl or 0.0
            found.append(trial)
    return found


def next_finalist(finalists: Sequence[Trial], kept: Mapping[str, bool]) -> Trial | None:
    """Return which finalist to measure next, None where no other could win.

    finalists: the cheapest, and furthest from the baseline, first. kept: whether quality was kept,
    of those that were measured. The safest comes first. Where it keeps the quality, the middle of
    those between the cheapest that did and the dearest below it that did not; then what is left
    below the cheapest that did, the safest first.
    """
    names = [trial.variant.name for trial in finalists]
    best = next((i for i, name in enumerate(names) if kept.get(name)), len(names))
    left = [i for i in range(best) if names[i] not in kept]
    if not left:
        return None
    lost = max((i for i in range(best) if names[i] in kept), default=-1)
    between = [i for i in left if i > lost]
    if best == len(names) or not between:
        return finalists[left[-1]]
    return finalists[between[len(between) // 2]]


class _Clock:
    """Wall seconds spent in all the times that a search was run, kept with it."""

    def __init__(self, study: Any, budget: float) -> None:
        self._study, self._budget = study, budget
        self.spent = float(study.user_attrs.get("spent", 0.0))
        self._last = time.monotonic()

    def tick(self) -> None:
        """Count the time since the last tick."""
        now = time.monotonic()
        self.spent += now - self._last
        self._last = now
        self._study.set_user_attr("spent", self.spent)

    def tick_now_and_then(self) -> None:
        """Count while a run is under way, so that the time of one that is killed counts too."""
        if time.monotonic() - self._last > _TICK:
            self.tick()

    def left(self, share: float) -> float:
        """Return what is left of a share of the budget."""
        return self._budget * share - self.spent - (time.monotonic() - self._last)
