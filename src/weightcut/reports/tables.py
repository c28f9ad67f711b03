"""The tables of a report, as text: one row a variant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from weightcut.records.results import Interval, Percentiles, Results, VariantResult
from weightcut.reports import measures, text

Align = Literal["left", "right"]


class Cell(NamedTuple):
    """A figure as text; `order` is what a reader sorts by, `kind` what it is drawn as."""

    text: str
    order: float | str | None = None
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading (with its unit) and the side its cells keep to."""

    label: str
    align: Align = "right"


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it. `missing` says why it has no rows."""

    key: str
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    caption: str = ""
    missing: str = ""


_Maker = Callable[[VariantResult], Cell]
Spec = tuple[Column, _Maker]


def build(
    results: Results, key: str, title: str, specs: Iterable[Spec], caption: str = ""
) -> Table:
    """Return a table, one row a variant, of the columns in which some variant has a figure."""
    chosen = list(specs)
    rows = [[make(variant) for _, make in chosen] for variant in results.variants]
    used = [
        i for i in range(len(chosen)) if i == 0 or any(row[i].text != text.MISSING for row in rows)
    ]
    columns = [chosen[i][0] for i in used]
    missing = "" if rows and len(used) > 1 else "Nothing has been measured yet."
    return Table(key, title, columns, [[row[i] for i in used] for row in rows], caption, missing)


def named(results: Results) -> Spec:
    """Return the column of names."""

    def make(variant: VariantResult) -> Cell:
        kind = "recommended" if variant.name == results.recommended else ""
        return Cell(text.plain(variant.name), text.plain(variant.name), kind)

    return Column("variant", "left"), make


def figure(
    label: str, read: Callable[[VariantResult], float | None], write: Callable[[float | None], str]
) -> Spec:
    """Return a column of plain figures."""

    def make(variant: VariantResult) -> Cell:
        value = text.finite(read(variant))
        return Cell(write(value), value)

    return Column(label), make


def estimate(label: str, read: Callable[[VariantResult], object]) -> Spec:
    """Return a column of figures with their intervals."""

    def make(variant: VariantResult) -> Cell:
        found = measures.as_interval(read(variant))
        return Cell(text.interval(found), found.value if found else None)

    return Column(label), make


def _flag(label: str, read: Callable[[VariantResult], bool]) -> Spec:
    def make(variant: VariantResult) -> Cell:
        value = read(variant)
        return Cell(text.yes(value), float(value), "yes" if value else "no")

    return Column(label, "left"), make


def _verdict(variant: VariantResult) -> Cell:
    return Cell(text.verdict(variant.verdict), variant.verdict, f"verdict {variant.verdict}")


def overview(results: Results) -> Table:
    """Return what somebody who has to choose looks at first."""
    first = measures.primary(results)
    specs: list[Spec] = [named(results), (Column("verdict", "left"), _verdict)]
    if first:
        task, metric = first.task, first.metric
        specs.append(estimate(first.name, lambda v: measures.measure(v, task, metric)))
        specs.append(estimate(f"{first.name} kept", measures.primary_retention))
        if metric != "pass@1":
            specs.append(estimate("pass@1", lambda v: measures.measure(v, task, "pass@1")))
    specs += [
        figure("latency p50", measures.latency, text.milliseconds),
        figure("speed-up", _against("latency_speedup"), text.times),
        figure("memory", measures.memory, text.size),
        figure("size", lambda v: v.artifact_bytes, text.size),
        _flag("target met", lambda v: v.meets_target),
        _flag("frontier", lambda v: v.on_frontier),
    ]
    confidence = text.finite(results.keep.get("confidence")) or 0.95
    caption = (
        f"In brackets: {confidence:.0%} confidence intervals. Kept: share of the baseline's value, "
        "paired by sample. Speed-up: baseline's median latency over the variant's."
    )
    return build(results, "overview", "Overview", specs, caption)


def _against(name: str) -> Callable[[VariantResult], float | None]:
    return lambda v: getattr(v.against_baseline, name) if v.against_baseline else None


def quality(results: Results) -> list[Table]:
    """Return every figure of every task, a table a task."""
    kept = measures.retained(results)
    found = []
    for task in measures.task_names(results):
        specs = [
            named(results),
            *(_metric(task, metric) for metric in measures.metric_names(results, task)),
            *(_retention(*pair) for pair in kept if pair[0] == task),
        ]
        name = text.plain(task)
        found.append(build(results, f"quality-{name}", f"Quality: {name}", specs))
    return found


def _retention(task: str, metric: str) -> Spec:
    label = f"{text.metric_name(metric)} kept"
    return estimate(label, lambda v: measures.retention(v, task, metric))


def _metric(task: str, metric: str) -> Spec:
    def make(variant: VariantResult) -> Cell:
        found = measures.measure(variant, task, metric)
        if found is None or found.value is None:
            return Cell(text.MISSING)
        if found.low is None and found.high is None and found.value.is_integer():
            return Cell(f"{found.value:,.0f}", found.value)
        return Cell(text.interval(found), found.value)

    return Column(text.metric_name(metric)), make


def speed(results: Results) -> Table:
    """Return every figure of speed, memory and size."""
    specs = [named(results)]
    for label, reading in (
        ("first token", "ttft_ms"),
        ("per token", "tpot_ms"),
        ("answer", "latency_ms"),
    ):
        specs += [
            figure(f"{label} {at}", _percentile(reading, at), text.milliseconds)
            for at in ("p50", "p90", "p99")
        ]
    for count in measures.concurrencies(results):
        specs.append(_rate(count))
    specs += [
        _speedup("speed-up", "latency_speedup"),
        _speedup("speed-up, same engine", "speedup_same_engine"),
        figure("memory", measures.memory, text.size),
        figure("memory ratio", _against("memory_ratio"), text.times),
        figure("size", lambda v: v.artifact_bytes, text.size),
        figure("size ratio", _against("size_ratio"), text.times),
        (Column("quiet machine", "left"), _quiet),
        figure("CPU taken by others", _others, text.share),
        figure("spread of repeats", _variation, text.share),
    ]
    profiles = [v.profile for v in results.variants if v.profile]
    caption = (
        "Speed-up, same engine: against the 16-bit variant on the same engine. Quiet: others took "
        "at most a tenth of the CPU before, while and after it was timed."
    )
    if profiles:
        one = profiles[0]
        caption = (
            f"Latencies at batch 1 over {one.prompts} different prompts, answers of "
            f"{one.new_tokens} tokens. {caption} Memory: peak resident set of the whole process."
        )
    return build(results, "speed", "Speed, memory and size", specs, caption)


def _speedup(label: str, name: str) -> Spec:
    """Return the column of a speed-up with its interval over the prompts."""

    def make(variant: VariantResult) -> Cell:
        value = text.finite(_against(name)(variant))
        other = variant.against_baseline
        ends: Interval | None = getattr(other, f"{name}_interval") if other else None
        written = text.times(value)
        if value is not None and ends and ends.low is not None and ends.high is not None:
            written += f" [{text.number(ends.low)}, {text.number(ends.high)}]"
        return Cell(written, value)

    return Column(label), make


def _percentile(reading: str, at: str) -> Callable[[VariantResult], float | None]:
    def read(variant: VariantResult) -> float | None:
        if variant.profile is None:
            return None
        found: Percentiles = getattr(variant.profile, reading)
        value: float | None = getattr(found, at)
        return value

    return read


def _rate(count: int) -> Spec:
    label = f"tokens/s, {count} at once"
    return figure(label, lambda v: measures.throughput(v).get(count), text.number)


def _quiet(variant: VariantResult) -> Cell:
    quiet = variant.profile.quiet if variant.profile else None
    return Cell(text.MISSING if quiet is None else text.yes(quiet), quiet, "bad" * (quiet is False))


def _others(variant: VariantResult) -> float | None:
    """Return the largest share of the CPU that others took before, while and after the timing."""
    return max(variant.profile.busy.values(), default=None) if variant.profile else None


def _variation(variant: VariantResult) -> float | None:
    return variant.profile.variation if variant.profile else None


def recipes(results: Results) -> Table:
    """Return how each variant is made and what opens it."""
    specs: list[Spec] = [
        named(results),
        (Column("engine", "left"), lambda v: Cell(_engine(v), v.engine)),
        (Column("recipe", "left"), lambda v: Cell(text.plain(measures.recipe(v)))),
        figure("size", lambda v: v.artifact_bytes, text.size),
        (Column("parts of the weights", "left"), lambda v: Cell(_parts(v))),
    ]
    return build(results, "recipes", "Recipes", specs)


def _engine(variant: VariantResult) -> str:
    options = ", ".join(f"{k}={v}" for k, v in variant.engine_options.items() if v is not None)
    return text.plain(f"{variant.engine}({options})" if options else variant.engine)


def _parts(variant: VariantResult) -> str:
    parts = [f"{text.plain(k)} {text.size(v)}" for k, v in variant.artifact_parts.items() if v]
    return ", ".join(parts) or text.MISSING


def guards(results: Results) -> Table:
    """Return every guard of every variant with its evidence."""
    columns = [
        Column("variant", "left"),
        Column("guard", "left"),
        Column("worse", "left"),
        Column("p"),
        Column("p, Holm"),
        Column("evidence", "left"),
    ]
    rows = [
        [
            Cell(text.plain(variant.name), text.plain(variant.name)),
            Cell(text.plain(guard.name), text.plain(guard.name)),
            Cell(text.yes(guard.worse), float(guard.worse), "bad" if guard.worse else "no"),
            Cell(text.probability(guard.p_value), guard.p_value),
            Cell(text.probability(guard.p_holm), guard.p_holm),
            Cell(text.plain(guard.says)),
        ]
        for variant in results.variants
        for guard in variant.guards
    ]
    missing = "" if rows else "No guard could be tested."
    caption = "Guards can only veto: one-sided tests, p-values corrected over the variants (Holm)."
    return Table("guards", "Guards", columns, rows, caption, missing)
