"""A finished run as an outcome table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weightcut import registry
from weightcut.analysis.frames import task_scores
from weightcut.analysis.quality import public_name
from weightcut.analysis.speed import summarize_profile
from weightcut.errors import BrokenInput, UsageError, nearest
from weightcut.records import CellKey, Named, Observation
from weightcut.store.run_store import RunStore

_PASSED = ("pass@1", "correct")


def run_rows(store: RunStore, metric: str | None = None) -> list[dict[str, Any]]:
    """Return a run's answers in long form: one row a task's sample and variant.

    metric: what becomes the quality (`codebleu`, `pass@1`, `correct`; default: the study's own).
    cost: seconds of this machine for the answer, its tokens over the tokens per second at the
    profile's highest concurrency. Several answers to one sample are averaged. The other scores are
    kept as extra columns. A task has no row for likelihoods: they answer no prompt.
    """
    spec = store.spec()
    wanted = metric or spec.keep.metric
    name = "passed" if wanted in _PASSED else wanted
    cells = {c.key: c for c in store.cells()}
    observations = {key: store.observations(key) for key in cells}
    scores = task_scores({k: rows for k, rows in observations.items() if rows})
    rows, seen = [], set[str]()
    for named in spec.tasks:
        columns = {v: s[named.kind] for v, s in scores.items() if named.kind in s}
        if not columns or any(s.likelihood for s in columns.values()):
            continue
        prompts = _prompts(named)
        for variant, found in columns.items():
            seen.update(found.by_sample)
            if not (quality := found.column(name)):
                continue
            if not found.is_share(name):
                raise UsageError(f"{wanted} is not a share from 0 to 1", place="--quality")
            speed = _tokens_per_second(variant, cells, observations)
            tokens, others = found.column("tokens"), sorted(set(found.by_sample) - {name, "tokens"})
            extra = {public_name(m): found.column(m) for m in others}
            rows += [
                {
                    "prompt_id": f"{named.kind}/{sample}",
                    "prompt": prompts[sample],
                    "variant": variant,
                    "quality": value,
                    "cost": tokens[sample] / speed,
                    "task": named.kind,
                    **{m: column.get(sample) for m, column in extra.items()},
                }
                for sample, value in quality.items()
                if sample in prompts and sample in tokens
            ]
    if not rows:
        known = nearest(wanted, sorted(map(public_name, seen))) if seen else "no answers at all"
        raise UsageError(f"the run has no {wanted!r}: {known}", place=str(store.folder))
    return rows


def _tokens_per_second(
    variant: str,
    cells: Mapping[CellKey, Any],
    observations: Mapping[CellKey, Sequence[Observation]],
) -> float:
    key = CellKey(variant=variant, stage="profile")
    found = summarize_profile(
        observations.get(key, ()), cells[key].manifest if key in cells else {}
    )
    rates = found.tokens_per_s if found else {}
    if rates:
        return rates[max(rates, key=int)]
    if found and found.tpot_ms.p50:
        return 1000 / found.tpot_ms.p50
    raise BrokenInput(
        f"the speed of {variant} was not measured, so that its answers have no cost",
        place=str(key),
        cure="run the study with a profile, or leave the variant out",
    )


def _prompts(named: Named) -> dict[str, str]:
    """Return each sample's prompt as a client would send it: the messages' texts."""
    task = registry.load("task", named.kind).model_validate({"kind": named.kind, **named.settings})
    return {
        item.id: "\n\n".join(message["content"] for message in item.messages) or item.plain_prompt
        for item in task.items()
    }
