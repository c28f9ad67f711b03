"""The tables of a report on cost, energy and load."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from weightcut.records.results import BatchCost, Hours, Interval, LoadLevel, Results, VariantResult
from weightcut.reports import measures, text
from weightcut.reports.tables import Cell, Column, Spec, Table, build, estimate, figure, named

_ENERGY = {
    "counters": "Energy: hardware counters.",
    "estimate": "Energy: an estimate, {formula}.",
    "mixed": "Energy: GPUs by their counters, the CPU an estimate, {formula}.",
}


def costs(results: Results) -> list[Table]:
    """Return what answers, and accepted answers, cost; nothing where that is not known."""
    counts = sorted({n for v in results.variants for n in measures.costs(v)})
    tables = [_answers(results, counts[-1]), _accepted(results, counts)] if counts else []
    return [table for table in [*tables, _hours(results)] if not table.missing]


def _answers(results: Results, count: int) -> Table:
    money = _currency(results)
    specs: list[Spec] = [
        named(results),
        figure("tokens of an answer", _tokens, text.number),
        *(
            figure(label, _reading(count, key), write)
            for label, key, write in (
                ("machine time", "seconds_per_answer", _seconds),
                ("CPU time", "cpu_seconds_per_answer", _seconds),
                ("energy", "joules_per_answer", text.joules),
                ("energy of a token", "joules_per_token", text.joules),
                ("CO2 of 1,000 (g)", "co2_g_per_1000_answers", text.number),
                (f"1,000 answers ({money})", "money_per_1000_answers", text.number),
                (f"million tokens ({money})", "money_per_million_tokens", text.number),
            )
        ),
    ]
    caption = f"Where {count} answers are produced at once. {_energy(results)} {_prices(results)}"
    return build(results, "cost", "Cost of an answer", specs, caption)


def _accepted(results: Results, counts: list[int]) -> Table:
    specs = [named(results), estimate("accepted", lambda v: v.cost.accepted if v.cost else None)]
    specs += [
        _interval(f"energy, {n} at once (J)", n, lambda b: b.joules_per_accepted) for n in counts
    ]
    money = _currency(results)
    specs += [_interval(f"1,000 answers, {n} at once ({money})", n, _per_thousand) for n in counts]
    task = next((v.cost.task for v in results.variants if v.cost and v.cost.task), "")
    caption = (
        f"The cost of all answers over those that pass their tests ({text.plain(task)}), with the "
        "interval of that share; an open end: the share may be 0."
    )
    table = build(results, "cost-accepted", "Cost of an accepted answer", specs, caption)
    known = any("at once" in column.label for column in table.columns)
    return table if known else Table(table.key, table.title, [], [], missing="Not known.")


def _interval(label: str, count: int, read: Callable[[BatchCost], Interval | None]) -> Spec:
    def make(variant: VariantResult) -> Cell:
        batch = measures.costs(variant).get(count)
        found = read(batch) if batch else None
        if found is None:
            return Cell(text.MISSING)
        if found.value is None:
            low = text.finite(found.low)
            return Cell(text.MISSING if low is None else f"over {text.number(low)}", low)
        return Cell(_open_interval(found), found.value)

    return Column(label), make


def _open_interval(value: Interval) -> str:
    low, high = text.finite(value.low), text.finite(value.high)
    if low is None and high is None:
        return text.number(value.value)
    end = "∞" if high is None else text.number(high)
    return f"{text.number(value.value)} [{text.number(low)}, {end}]"


def _per_thousand(batch: BatchCost) -> Interval | None:
    one = batch.money_per_accepted
    if one is None:
        return None
    value, low, high = (None if x is None else 1000 * x for x in (one.value, one.low, one.high))
    return Interval(value=value, low=low, high=high)


def _hours(results: Results) -> Table:
    specs: list[Spec] = [named(results)]
    for stage, label in (("build", "compress"), ("task", "tasks"), ("profile", "profile")):
        for key, unit in (("wall", "by the clock"), ("cpu", "CPU"), ("gpu", "GPU")):
            specs.append(figure(f"{label}, {unit}", _stage(stage, key), text.hours))
    caption = "What it took to make and to measure each variant; kept artifacts cost nothing anew."
    return build(results, "hours", "CPU and GPU time of the study", specs, caption)


def _stage(stage: str, key: str) -> Callable[[VariantResult], float | None]:
    def read(variant: VariantResult) -> float | None:
        found: Hours | None = variant.cost.hours.get(stage) if variant.cost else None
        value: float | None = getattr(found, key) if found else None
        return value if value or key != "gpu" else None

    return read


def _tokens(variant: VariantResult) -> float | None:
    return variant.cost.tokens_per_answer if variant.cost else None


def _reading(count: int, key: str) -> Callable[[VariantResult], float | None]:
    def read(variant: VariantResult) -> float | None:
        batch = measures.costs(variant).get(count)
        value: float | None = getattr(batch, key) if batch else None
        return value

    return read


def _seconds(value: float | None) -> str:
    return text.milliseconds(None if value is None else 1000 * value)


def _currency(results: Results) -> str:
    return text.plain(results.prices.get("currency") or "money")


def _energy(results: Results) -> str:
    formula = measures.energy_formula(results)
    kinds = sorted(measures.energy_kinds(results))
    return " ".join(_ENERGY[kind].format(formula=formula) for kind in kinds)


def _prices(results: Results) -> str:
    hour = text.finite(results.prices.get("machine_per_hour"))
    if hour is None:
        return "No prices: no price file says what the machine costs (docs/cost.md)."
    return f"Prices: the whole machine at {hour:g} {_currency(results)} an hour."


def under_load(results: Results) -> list[Table]:
    """Return how the variants stood up to requests over time; nothing where none was put to it."""
    if not any(measures.load_levels(v) for v in results.variants):
        return []
    return [_summary(results), _levels(results)]


def _summary(results: Results) -> Table:
    specs: list[Spec] = [
        named(results),
        figure("sustained (requests/s)", lambda v: _load(v, "sustained_per_s"), text.number),
        figure("saturation (requests/s)", lambda v: _load(v, "saturation_per_s"), text.number),
        figure("best goodput (answers/s)", _best_goodput, text.number),
    ]
    caption = (
        "Sustained: the highest rate of arrivals asked for at which answers kept up. Saturation: "
        "the capacity at the lowest rate at which they fell behind, told from how latency grows. "
        f"{_target(results)}"
    )
    return build(results, "load", "Under load", specs, caption)


def _load(variant: VariantResult, key: str) -> float | None:
    load = variant.profile.load if variant.profile else None
    value: float | None = getattr(load, key) if load else None
    return value


def _best_goodput(variant: VariantResult) -> float | None:
    found = [level.goodput_per_s for level in measures.load_levels(variant)]
    return max((one for one in found if one is not None), default=None)


def _target(results: Results) -> str:
    loads = [v.profile.load for v in results.variants if v.profile and v.profile.load]
    names = {"ttft_ms": "first token", "tpot_ms": "further tokens", "latency_ms": "whole answer"}
    limits = [
        f"{names[key]} within {text.milliseconds(value)}"
        for key, value in loads[0].target.items()
        if key in names and value is not None
    ]
    how = f" {text.plain(loads[0].batching).capitalize()}." if loads[0].batching else ""
    return f"Goodput counts answers in time: {', '.join(limits) or 'no limit set'}.{how}"


def _levels(results: Results) -> Table:
    heads = ["variant", "load"]
    heads += [f"{w} {at}" for w in ("first token", "per token", "answer") for at in _AT]
    heads += ["answers/s", "goodput/s", "in time", "errors", "saturated"]
    columns = [Column(head, "left" if i < 2 else "right") for i, head in enumerate(heads)]
    rows = [
        [Cell(text.plain(v.name), text.plain(v.name)), *_level(level)]
        for v in results.variants
        for level in measures.load_levels(v)
    ]
    caption = "Times count from the arrival of a request, its waiting included."
    for v in results.variants:
        for level in measures.load_levels(v):
            if level.error:
                asked = next(_level(level)).text
                caption += f" {text.plain(v.name)}, {asked}: given up, {text.plain(level.error)}."
    return Table("load-levels", "Under load, rate by rate", columns, rows, caption)


_AT = ("p50", "p90", "p99")


def _level(level: LoadLevel) -> Iterator[Cell]:
    asked = level.rate if level.kind == "open" else level.clients
    unit = "requests/s" if level.kind == "open" else "client" + "s" * (asked != 1)
    yield Cell(text.MISSING if asked is None else f"{asked:g} {unit}", asked)
    for reading in (level.ttft_ms, level.tpot_ms, level.latency_ms):
        for at in _AT:
            value = getattr(reading, at)
            yield Cell(text.milliseconds(value), value)
    for value in (level.answers_per_s, level.goodput_per_s):
        yield Cell(text.number(value), value)
    for value in (level.in_time, level.error_rate):
        yield Cell(text.share(value), value)
    known = level.saturated
    yield Cell(text.MISSING if known is None else text.yes(known), known, "bad" * bool(known))
