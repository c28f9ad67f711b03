"""A finished run as an outcome table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weightcut import registry
from weightcut.analysis.frames import Scores, task_scores
from weightcut.analysis.quality import public_name
from weightcut.analysis.speed import summarize_profile
from weightcut.errors import UsageError, nearest
from weightcut.files import file_digest
from weightcut.records import CellKey, Named, Observation
from weightcut.routing.signals import read_signals
from weightcut.routing.table import SIGNALS
from weightcut.store.run_store import RunStore

_PASSED = ("pass@1", "correct")
Observations = Mapping[CellKey, Sequence[Observation]]


class Outcomes(NamedTuple):
    """Rows in long form. baseline: the study's own. notes: what was left out, in words."""

    rows: list[dict[str, Any]]
    baseline: str
    notes: list[str]


def run_outcomes(store: RunStore, metric: str | None = None) -> Outcomes:
    """Return a run's answers: one row a task's sample and variant.

    metric: what becomes the quality (`codebleu`, `pass@1`, `correct`; default: the study's own).
    cost: seconds of this machine for the answer, its tokens over the tokens per second at the
    profile's highest concurrency. Several answers to one sample are averaged. The other scores are
    kept as extra columns; `parses` and `tests_passed` are what a server would see of the answer:
    whether its code parses, and whether it passes, in the sandbox, the tests that the prompt shows.
    A task has no row for likelihoods: they answer no prompt. Variants without a measured speed are
    left out.
    """
    spec = store.spec()
    wanted = metric or spec.keep.metric
    name = "passed" if wanted in _PASSED else wanted
    cells = {c.key: c for c in store.cells()}
    observations = {key: store.observations(key) for key in cells}
    scores = task_scores({k: rows for k, rows in observations.items() if rows})
    manifests = {key: cell.manifest for key, cell in cells.items()}
    speeds = {variant: _tokens_per_second(variant, manifests, observations) for variant in scores}
    rows: list[dict[str, Any]] = []
    seen, unmeasured = set[str](), set[str]()
    for named in spec.tasks:
        columns = {v: s[named.kind] for v, s in scores.items() if named.kind in s}
        if not columns or any(s.likelihood for s in columns.values()):
            continue
        prompts = _prompts(named, store.conditions())
        for variant, found in columns.items():
            seen.update(found.by_sample)
            if not found.column(name):
                continue
            if not found.is_share(name):
                raise UsageError(f"{wanted} is not a share from 0 to 1", place="--quality")
            if (speed := speeds[variant]) is None:
                unmeasured.add(variant)
                continue
            key = CellKey(variant=variant, stage="task", task=named.kind)
            told = _signals(prompts, observations.get(key, ()))
            rows += _rows(named.kind, variant, found, name, speed, prompts, told)
    _check(rows, seen, unmeasured, wanted, str(store.folder))
    wanting = _wanting(rows, {key.variant for key in cells if key.stage == "task"} - unmeasured)
    notes = [
        *(f"{v} was left out: its speed was not measured" for v in sorted(unmeasured)),
        *(f"{v} was left out: it has answers to {n} prompts alone" for v, n in wanting.items()),
    ]
    return Outcomes([r for r in rows if r["variant"] not in wanting], spec.baseline, notes)


def _wanting(rows: Sequence[Mapping[str, Any]], variants: set[str]) -> dict[str, int]:
    """Return the variants that lack more than half of the prompts, and how many they have.

    A prompt that lacks a variant is of no use, so that one broken variant would cost all of them.
    """
    counts = Counter(row["variant"] for row in rows)
    most = max(counts.values())
    return {name: counts[name] for name in sorted(variants) if 2 * counts[name] < most}


def _rows(
    task: str,
    variant: str,
    found: Scores,
    quality: str,
    speed: float,
    prompts: Mapping[str, str],
    told: Mapping[str, Mapping[str, float | None]],
) -> Iterable[dict[str, Any]]:
    """Yield one variant's rows of one task."""
    tokens = found.column("tokens")
    others = sorted(set(found.by_sample) - {quality, "tokens"})
    extra = {public_name(metric): found.column(metric) for metric in others}
    for sample, value in found.column(quality).items():
        if sample in prompts and sample in tokens:
            yield {
                "prompt_id": f"{task}/{sample}",
                "prompt": prompts[sample],
                "variant": variant,
                "quality": value,
                "cost": tokens[sample] / speed,
                "task": task,
                **{metric: column.get(sample) for metric, column in extra.items()},
                **told.get(sample, {}),
            }


def _check(
    rows: Sequence[Any], seen: set[str], unmeasured: set[str], wanted: str, place: str
) -> None:
    if rows:
        return
    if unmeasured:
        raise UsageError(
            "no variant's speed was measured, so that answers have no cost",
            place=place,
            cure="run the study with a profile",
        )
    scores = sorted(map(public_name, seen))
    if wanted in scores:
        raise UsageError(
            f"no answer with {wanted!r} is to a prompt that its task still asks", place=place
        )
    known = nearest(wanted, scores) if seen else "no answers at all"
    raise UsageError(f"the run has no {wanted!r}: {known}", place=place)


def _signals(
    prompts: Mapping[str, str], answers: Iterable[Observation]
) -> dict[str, dict[str, float | None]]:
    """Return what a cascade would see of each sample's answers: the mean over several."""
    found: dict[str, list[tuple[float | None, ...]]] = {}
    for answer in answers:
        text = answer.detail.get("text")
        if not isinstance(text, str) or answer.sample not in prompts:
            continue
        seen = read_signals(prompts[answer.sample], text, answer.values.get("mean_logprob"))
        found.setdefault(answer.sample, []).append(tuple(getattr(seen, name) for name in SIGNALS))
    return {
        sample: {name: _mean([one[at] for one in each]) for at, name in enumerate(SIGNALS)}
        for sample, each in found.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _tokens_per_second(
    variant: str, manifests: Mapping[CellKey, Mapping[str, Any]], observations: Observations
) -> float | None:
    """Return the speed at the highest concurrency that was measured, None where none was."""
    key = CellKey(variant=variant, stage="profile")
    found = summarize_profile(observations.get(key, ()), manifests.get(key, {}))
    rates = found.tokens_per_s if found else {}
    if rates:
        return rates[max(rates, key=int)]
    return 1000 / found.tpot_ms.p50 if found and found.tpot_ms.p50 else None


def _prompts(named: Named, conditions: Mapping[str, Any]) -> dict[str, str]:
    """Return each sample's prompt as a client would send it: the messages' texts.

    UsageError where a task of the user's own is no longer the one that the run asked.
    """
    if named.source:
        path = Path(named.source.rpartition(":")[0])
        asked = conditions.get("task_data", {}).get(named.kind, {}).get("code")
        if not path.is_file() or file_digest(path) != asked:
            raise UsageError(
                f"the task {named.kind} is not what the run asked: its file has changed or is gone",
                place=str(path),
                cure="put it back, or run the study again",
            )
        model = registry.load_file("task", named.source)
    else:
        model = registry.load("task", named.kind)
    task = model.model_validate({"kind": named.kind, **named.settings})
    return {
        item.id: "\n\n".join(message["content"] for message in item.messages) or item.plain_prompt
        for item in task.items()
    }
