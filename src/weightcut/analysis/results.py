"""From raw observations to the public results of a study; pure and repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightcut.analysis.agreement import agreement, disagreements
from weightcut.analysis.alike import timed_unlike, unlike_cells
from weightcut.analysis.cost import answers_of, cost_of
from weightcut.analysis.frames import task_scores
from weightcut.analysis.frontier import Point, frontier
from weightcut.analysis.guards import run_guards
from weightcut.analysis.names import metric_name
from weightcut.analysis.predictions import cell_costs
from weightcut.analysis.quality import Settings, public_name, retention, summarize
from weightcut.analysis.readings import quotient
from weightcut.analysis.recommend import recommend
from weightcut.analysis.speed import summarize_profile, timing_doubts
from weightcut.analysis.speedups import speedup
from weightcut.analysis.statistics import Ratio
from weightcut.analysis.verdicts import Judgement, judge, primary_task
from weightcut.records import Cell, CellKey, Observation, Prices, StudySpec, VariantSpec
from weightcut.records.results import (
    AgainstBaseline,
    Guard,
    Interval,
    Profile,
    Results,
    Skipped,
    VariantResult,
)


def build_results(
    spec: StudySpec,
    machine: dict[str, Any],
    conditions: dict[str, Any],
    cells: Sequence[Cell],
    observations: Mapping[CellKey, Sequence[Observation]],
    prices: Prices | None = None,
) -> Results:
    """Return the results of a study, finished or not.

    prices: what costs are computed with; without them there are no amounts of money.

    What is missing (cells that failed, were skipped or never ran, readings that are not numbers)
    makes a variant *unmeasured* or a figure None, with the reason in words; it never raises.
    """
    study = _Study(spec, cells, observations, prices or Prices())
    return study.results(machine, conditions)


class _Study:
    """The parts of one analysis that several of its steps read."""

    def __init__(
        self,
        spec: StudySpec,
        cells: Sequence[Cell],
        observations: Mapping[CellKey, Sequence[Observation]],
        prices: Prices,
    ) -> None:
        self.spec = spec
        self.prices = prices
        self.cells = {cell.key: cell for cell in cells}
        self.observations = observations
        self.settings = Settings(spec.keep.confidence, spec.seed)
        scores = task_scores(observations)
        self.scores = {v.name: scores.get(v.name, {}) for v in spec.variants}
        self.base = self.scores.get(spec.baseline, {})
        others = {name: s for name, s in self.scores.items() if name != spec.baseline}
        self.guards = run_guards(
            self.base, others, spec.keep.kl_limit, spec.keep.confidence, spec.seed
        )
        self.task = primary_task(spec.keep, [t.kind for t in spec.tasks], self.base)
        self.profiles = {v.name: self._profile(v.name) for v in spec.variants}

    def results(self, machine: dict[str, Any], conditions: dict[str, Any]) -> Results:
        variants = [self._variant(variant) for variant in self.spec.variants]
        on_frontier = frontier([self._point(variant) for variant in variants])
        variants = [v.model_copy(update={"on_frontier": v.name in on_frontier}) for v in variants]
        chosen, paragraph = recommend(
            variants, self.spec.baseline, self.spec.keep, self.spec.target
        )
        keep = self.spec.keep
        found = None
        if self.task is not None:
            of_task = {v: s[self.task] for v, s in self.scores.items() if self.task in s}
            found = agreement(keep.metric, self.task, self.spec.baseline, of_task)
        rises = {v.name: r.value for v in variants if (r := _primary(v)) and r.value is not None}
        rises.pop(self.spec.baseline, None)
        contradicted = disagreements(keep.metric, found, rises, self.guards) if found else []
        return Results(
            study=self.spec.study,
            baseline=self.spec.baseline,
            complete=bool(self.cells)
            and all(cell.state in ("done", "skipped") for cell in self.cells.values()),
            machine=machine,
            conditions=conditions,
            keep={**keep.model_dump(), "task": self.task or keep.task},
            target=self.spec.target.model_dump(),
            variants=variants,
            recommended=chosen,
            recommendation=paragraph,
            agreement=found,
            prices=self.prices.model_dump(),
            warnings=[*contradicted, *self._data_warnings()],
            skipped=[
                Skipped(cell=str(cell.key), reason=cell.reason)
                for cell in self.cells.values()
                if cell.state == "skipped"
            ],
            cells=cell_costs(self.cells.values()),
        )

    def _variant(self, variant: VariantSpec) -> VariantResult:
        name = variant.name
        artifact = self._artifact(name)
        size = artifact.get("bytes")
        details = artifact.get("details", {})
        guards = self.guards.get(name, [])
        primary = self._primary_ratio(name)
        judgement = self._judge(name, primary, guards)
        against = self._against(variant, primary)
        times_as_fast = against.latency_speedup if against else None
        tasks = self._tasks(name)
        return VariantResult(
            name=name,
            engine=variant.engine.kind,
            engine_options=variant.engine.settings,
            recipe=[{"kind": step.kind, **step.settings} for step in variant.recipe],
            artifact_bytes=size,
            artifact_parts=artifact.get("parts") or details.get("parts", {}),
            details=details,
            tasks=tasks,
            profile=self.profiles[name],
            against_baseline=against,
            guards=guards,
            verdict=judgement.verdict,
            verdict_reasons=list(judgement.reasons),
            further_samples=judgement.further_samples,
            meets_target=judgement.verdict == "retained"
            and times_as_fast is not None
            and times_as_fast >= self.spec.target.latency_speedup,
            on_frontier=False,
            cost=cost_of(
                answers_of(tasks, self.task),
                self.profiles[name],
                self.observations.get(CellKey(variant=name, stage="profile"), ()),
                [cell for key, cell in self.cells.items() if key.variant == name],
                self.prices,
            ),
            errors=[
                f"{key}: {cell.error}"
                for key, cell in self.cells.items()
                if key.variant == name and cell.state == "failed"
            ],
        )

    def _tasks(self, name: str) -> dict[str, dict[str, Any]]:
        baseline = name == self.spec.baseline
        return {
            task: summarize(scores, self.settings, baseline=baseline)
            for task, scores in self.scores[name].items()
        }

    def _judge(self, name: str, primary: Ratio | None, guards: list[Guard]) -> Judgement:
        metric = metric_name(self.spec.keep.metric)
        if name == self.spec.baseline:
            if self.task is None:
                return Judgement("unmeasured", (f"{metric}: {self._missing(name)}",))
            return Judgement("baseline", ("what the others are measured against",))
        if self.task is None:
            base = self._missing(self.spec.baseline)
            missing = f"{metric} of the baseline is missing ({base})"
        else:
            missing = f"{metric}: {self._missing(name)}"
        return self._doubted(name, judge(self.spec.keep, primary, guards, missing))

    def _doubted(self, name: str, found: Judgement) -> Judgement:
        """Return *undecided* in place of *retained* where the worst may be what is missing.

        Values that are no numbers are left out of every mean, and of a cell that was ended early
        the answers are there that ended first: none at the token limit, say.
        """
        more = [
            f"{count} values of {metric} on {task} are no numbers"
            for task, scores in self.scores[name].items()
            for metric, count in scores.broken.items()
            if task in self.base and count > self.base[task].broken.get(metric, 0)
        ]
        more += [
            f"{key} has only a part of its samples, those that ended first"
            for key, cell in self.cells.items()
            if key.stage == "task"
            and key.variant in (name, self.spec.baseline)
            and cell.state != "done"
            and self.observations.get(key)
        ]
        if found.verdict != "retained" or not more:
            return found
        return Judgement("undecided", (*more, *found.reasons))

    def _missing(self, name: str) -> str:
        """Return why a variant has no primary metric."""
        mine = [cell for key, cell in self.cells.items() if key.variant == name]
        task = self.task or self.spec.keep.task
        for cell in mine:
            if cell.key.stage == "profile" or (task and cell.key.task not in ("", task)):
                continue
            if cell.state == "failed":
                return f"{cell.key} failed: {cell.error or 'no error was recorded'}"
            if cell.state == "skipped":
                return f"{cell.key} was skipped: {cell.reason or 'no reason was recorded'}"
        if any(cell.state in ("pending", "running") for cell in mine) or not mine:
            return "it has not been run"
        return "no task of the study measures it"

    def _primary_ratio(self, name: str) -> Ratio | None:
        if self.task is None or self.task not in self.scores[name]:
            return None
        variant = self.scores[name][self.task]
        return retention(self.base[self.task], variant, self.spec.keep.metric, self.settings)

    def _against(self, variant: VariantSpec, primary: Ratio | None) -> AgainstBaseline | None:
        name, baseline = variant.name, self.spec.baseline
        mine, base = self.profiles[name], self.profiles.get(baseline)
        kept = self._retentions(name)
        against = AgainstBaseline(
            primary_retention=self._interval(primary, name) if primary else None,
            retention=kept,
            codebleu_retention=_first(kept, "codebleu"),
            pass_at_1_retention=_first(kept, "pass@1"),
            flips=self._flips(name),
            latency_speedup=quotient(_latency(base), _latency(mine)),
            speedup_same_engine=quotient(self._engine_latency(variant), _latency(mine)),
            latency_speedup_interval=self._speedup(baseline, name),
            speedup_same_engine_interval=self._speedup(self._uncompressed(variant), name),
            throughput_speedup=_throughputs(base, mine),
            size_ratio=quotient(self._size(name), self._size(baseline)),
            memory_ratio=quotient(_memory(mine), _memory(base)),
        )
        return None if against == AgainstBaseline() else against

    def _retentions(self, name: str) -> dict[str, dict[str, Interval]]:
        kept: dict[str, dict[str, Interval]] = {}
        for task, scores in self.scores[name].items():
            if task not in self.base or self.base[task].likelihood != scores.likelihood:
                continue
            metrics = (
                ["perplexity", "bits_per_byte"]
                if scores.likelihood
                else [m for m in scores.metrics if m in self.base[task].by_sample]
            )
            kept[task] = {
                public_name(metric): self._interval(
                    retention(self.base[task], scores, metric, self.settings), name
                )
                for metric in metrics
                if scores.likelihood
                or (scores.is_share(metric) and self.base[task].is_share(metric))
            }
        return kept

    def _interval(self, ratio: Ratio, name: str) -> Interval:
        if name == self.spec.baseline and ratio.value is not None:
            return Interval(value=1.0, low=1.0, high=1.0, n=ratio.n)
        return Interval(
            value=ratio.value,
            low=ratio.low,
            high=ratio.high,
            n=ratio.n,
            detectable=ratio.detectable(self.spec.keep.confidence),
            reason=ratio.reason,
        )

    def _flips(self, name: str) -> dict[str, int]:
        lost = gained = 0
        counted = False
        for task, scores in self.scores[name].items():
            base = self.base[task].column("passed") if task in self.base else {}
            mine = scores.column("passed")
            counted |= bool(base and mine)
            lost += sum(mine[s] < base[s] for s in mine if s in base)
            gained += sum(mine[s] > base[s] for s in mine if s in base)
        return {"lost": lost, "gained": gained} if counted else {}

    def _artifact(self, name: str) -> Mapping[str, Any]:
        cell = self.cells.get(CellKey(variant=name, stage="build"))
        return (cell.manifest.get("artifact") or {}) if cell else {}

    def _size(self, name: str) -> float | None:
        return self._artifact(name).get("bytes")

    def _profile(self, name: str) -> Profile | None:
        key = CellKey(variant=name, stage="profile")
        manifest = self.cells[key].manifest if key in self.cells else {}
        load = self.spec.profile.load if self.spec.profile else None
        found = summarize_profile(self.observations.get(key, ()), manifest, load)
        base = self.cells.get(CellKey(variant=self.spec.baseline, stage="profile"))
        if found is None or base is None:
            return found
        return found.model_copy(update={"unlike": timed_unlike(manifest, base.manifest)})

    def _speedup(self, slower: str | None, name: str) -> Interval | None:
        before, after = (
            self.observations.get(CellKey(variant=v, stage="profile"), ())
            for v in (slower or "", name)
        )
        return speedup(before, after, self.settings)

    def _engine_latency(self, variant: VariantSpec) -> float | None:
        name = self._uncompressed(variant)
        return _latency(self.profiles[name]) if name else None

    def _uncompressed(self, variant: VariantSpec) -> str | None:
        """Return the variant on the same engine without any compression.

        Where the engine stands in the study with several options, the one with the same.
        """
        if not variant.recipe:
            return variant.name
        kind = variant.engine.kind
        plain = [v for v in self.spec.variants if v.engine.kind == kind and not v.recipe]
        plain.sort(key=lambda v: v.engine != variant.engine)
        return plain[0].name if plain else None

    def _point(self, variant: VariantResult) -> Point:
        primary = _primary(variant)
        return Point(
            name=variant.name,
            quality=primary.value if primary else None,
            latency=_latency(variant.profile),
            memory=_memory(variant.profile),
            size=variant.artifact_bytes,
            trusted=not any(guard.worse for guard in variant.guards),
        )

    def _data_warnings(self) -> list[str]:
        measured = (cell for key, cell in self.cells.items() if self.observations.get(key))
        warnings = unlike_cells(measured)
        for name, tasks in self.scores.items():
            for task, scores in tasks.items():
                for metric, count in scores.broken.items():
                    warnings.append(
                        f"{name}/{task}: {count} values of {metric} are not usable numbers and "
                        "were left out"
                    )
                if task in self.base and scores.samples != self.base[task].samples:
                    warnings.append(
                        f"{name}/{task}: {scores.samples} samples against the baseline's "
                        f"{self.base[task].samples}; only those of both are compared"
                    )
        warnings += [
            f"{name}: {says}"
            for name, profile in self.profiles.items()
            for says in timing_doubts(profile)
        ]
        return warnings + self._few_prompts()

    def _few_prompts(self) -> list[str]:
        """Return that fewer prompts were timed than the study asks for, where that is so."""
        asked = self.spec.profile.prompts if self.spec.profile else 0
        done = {key for key, cell in self.cells.items() if cell.state == "done"}
        timed = [
            profile.prompts
            for name, profile in self.profiles.items()
            if profile and CellKey(variant=name, stage="profile") in done
        ]
        if not timed or min(timed) >= asked:
            return []
        return [
            f"latencies rest on {min(timed)} different prompts, not on {asked} (profile.prompts): "
            "the task has no more that leave room for an answer"
        ]


def _primary(variant: VariantResult) -> Interval | None:
    return variant.against_baseline.primary_retention if variant.against_baseline else None


def _first(kept: Mapping[str, Mapping[str, Interval]], metric: str) -> Interval | None:
    return next((task[metric] for task in kept.values() if metric in task), None)


def _latency(profile: Profile | None) -> float | None:
    return profile.latency_ms.p50 if profile else None


def _memory(profile: Profile | None) -> float | None:
    return profile.peak_rss_bytes if profile else None


def _throughputs(base: Profile | None, mine: Profile | None) -> dict[str, float]:
    if base is None or mine is None:
        return {}
    ratios = {c: quotient(rate, base.tokens_per_s.get(c)) for c, rate in mine.tokens_per_s.items()}
    return {c: ratio for c, ratio in ratios.items() if ratio is not None}
