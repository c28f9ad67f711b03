"""What a report says of trained variants: their cost, their losses, what more rank pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weightcut.records.results import Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.tables import Cell, Column, Spec, Table, build, figure, named

PAYS = 0.01
"""Share of the loss in perplexity from which on a larger rank is said to pay."""


def training(results: Results) -> list[Table]:
    """Return the table of trained variants; nothing where none was trained."""
    trained = [v for v in results.variants if record(v)]
    if not trained:
        return []
    specs: list[Spec] = [
        named(results),
        (Column("method", "left"), lambda v: Cell(kind(v))),
        figure("rank", lambda v: text.finite(_step(v).get("rank")), _count),
        figure(
            "weights trained", lambda v: text.finite(record(v).get("trainable_parameters")), _count
        ),
        figure("steps", lambda v: text.finite(record(v).get("steps")), _count),
        figure("time", lambda v: text.finite(record(v).get("seconds")), _seconds),
        figure("tokens/s", lambda v: text.finite(record(v).get("tokens_per_s")), _rate),
        figure("peak memory", lambda v: text.finite(record(v).get("peak_rss_bytes")), text.size),
        figure("held-out loss before", lambda v: _held_out(v, "validation_before"), _loss),
        figure("after", lambda v: _held_out(v, "validation_after"), _loss),
        figure("perplexity", perplexity, _loss),
    ]
    caption = (
        "Time: of the optimizer's steps alone. Held-out loss: nats per token, of text that is "
        "neither trained nor measured on; for distillation the divergence from the teacher."
    )
    said = " ".join([caption, *ranks(results)])
    return [
        build(results.model_copy(update={"variants": trained}), "training", "Training", specs, said)
    ]


def curves(results: Results) -> dict[str, list[dict[str, float]]]:
    """Return each trained variant's points by step, those readings alone that are numbers."""
    return {
        variant.name: [
            {
                key: number
                for key, value in point.items()
                if (number := text.finite(value)) is not None
            }
            for point in record(variant).get("curve", ())
            if isinstance(point, Mapping)
        ]
        for variant in results.variants
        if record(variant)
    }


def ranks(results: Results) -> Iterator[str]:
    """Yield a sentence for each method whose ranks were compared: where more of it stops paying.

    Variants are compared whose recipes differ in the rank alone. A rank pays where perplexity is
    lower by at least PAYS of it than at the best smaller rank that pays.
    """
    groups: dict[str, dict[int, float]] = {}
    for variant in results.variants:
        rank, value = text.finite(_step(variant).get("rank")), perplexity(variant)
        if rank is not None and value is not None:
            steps = [{k: v for k, v in step.items() if k != "rank"} for step in variant.recipe]
            groups.setdefault(f"{kind(variant)} {steps} {variant.engine}", {})[int(rank)] = value
    for label, found in groups.items():
        if len(found) < 2:
            continue
        best, *others = sorted(found)
        for rank in others:
            if found[rank] <= (1 - PAYS) * found[best]:
                best = rank
        last = max(found)
        said = ", ".join(f"{found[rank]:.3f} at rank {rank}" for rank in sorted(found))
        method = label.partition(" ")[0]
        if best == last:
            yield f"{method}: perplexity {said}: up to rank {last} more rank pays."
        else:
            yield (
                f"{method}: perplexity {said}: beyond rank {best} more rank stops paying "
                f"(no further {PAYS:.0%})."
            )


def record(variant: VariantResult) -> Mapping[str, Any]:
    """Return what the last step that trained a variant has recorded, nothing where none did."""
    return _last(variant)[1]


def kind(variant: VariantResult) -> str:
    """Return the name of the last method that trained a variant."""
    return text.plain(_step(variant).get("kind", ""))


def perplexity(variant: VariantResult) -> float | None:
    """Return the perplexity of the first task that has one."""
    for task in variant.tasks:
        found = measures.as_interval(measures.measure(variant, task, "perplexity"))
        if found is not None and found.value is not None:
            return found.value
    return None


def _step(variant: VariantResult) -> Mapping[str, Any]:
    """Return the settings of the last step that trained, and its rank where that is the default."""
    step, found = _last(variant)
    return {"rank": found.get("rank"), **step}


def _last(variant: VariantResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the last step that trained and its record, nothing of both where none did."""
    for step in reversed(variant.recipe):
        found = variant.details.get(str(step.get("kind")))
        if isinstance(found, dict) and "trainable_parameters" in found:
            return step, found
    return {}, {}


def _held_out(variant: VariantResult, key: str) -> float | None:
    found = record(variant).get(key)
    return text.finite(found.get("loss")) if isinstance(found, Mapping) else None


def _count(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:,.0f}"


def _rate(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:,.0f} s"


def _loss(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:.3f}"
