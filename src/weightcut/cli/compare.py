"""`weightcut compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightcut.cli import options
from weightcut.cli.output import errors, print_json
from weightcut.errors import UsageError, nearest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from weightcut.analysis.compare import Side
    from weightcut.store.run_store import RunStore

SHOWN = 10
"""So many samples of each kind are shown without --all."""


def compare(
    a: Annotated[str, typer.Argument(help="A run folder, or RUN:VARIANT.")],
    b: Annotated[str, typer.Argument(help="The same; `:VARIANT` is of the first one's run.")],
    allow_unlike: Annotated[
        bool, typer.Option("--allow-unlike", help="Compare even under different conditions.")
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every sample that differs.")
    ] = False,
    json_: options.Json = False,
) -> None:
    """Show two variants, or all that two runs share, sample by sample.

    Example: weightcut compare runs/quickstart:full :ov-int8
    """
    from weightcut.analysis import compare as analysis

    pairs, confidence, seed = _pairs(a, b)
    told = (line for pair in pairs for line in analysis.unlike_conditions(*pair))
    unlike = list(dict.fromkeys(told))
    if unlike and not allow_unlike:
        raise UsageError(
            f"the two were not measured under equal conditions: {'; '.join(unlike)}",
            cure="repeat one under the other's conditions, or add --allow-unlike",
        )
    found = [analysis.compare(left, right, confidence, seed) for left, right in pairs]
    if json_:
        print_json({"unlike": unlike, "comparisons": found})
        return
    for line in unlike:
        errors.print(f"[yellow]unlike conditions:[/] {line}", soft_wrap=True)
    for comparison in found:
        _show(comparison, show_all=show_all)


def _pairs(a: str, b: str) -> tuple[list[tuple[Side, Side]], float, int]:
    """Return the pairs to compare, and the first run's confidence and seed."""
    from weightcut.store.run_store import RunStore

    folder_a, variant_a = _split(a)
    folder_b, variant_b = _split(b)
    if folder_a is None:
        raise UsageError("the first names no run", place=a, cure="write RUN:VARIANT")
    one = RunStore.open(folder_a)
    try:
        other = RunStore.open(folder_b or folder_a)
        try:
            named = (variant_a or variant_b, variant_b or variant_a)
            same_run = one.folder.resolve() == other.folder.resolve()
            chosen = [named] if named[0] else _shared(one, other, same_run=same_run)
            if same_run and chosen[0][0] == chosen[0][1]:
                raise UsageError("this is the same variant of the same run twice", place=b)
            pairs = [(_side(one, left), _side(other, right)) for left, right in chosen]
            spec = one.spec()
            return pairs, spec.keep.confidence, spec.seed
        finally:
            other.close()
    finally:
        one.close()


def _split(reference: str) -> tuple[Path | None, str]:
    if Path(reference).is_dir():
        return Path(reference), ""
    folder, colon, variant = reference.rpartition(":")
    if not colon:
        return Path(reference), ""
    return (Path(folder) if folder else None), variant


def _shared(one: RunStore, other: RunStore, *, same_run: bool) -> list[tuple[str, str]]:
    if same_run:
        raise UsageError("this is the same run twice", cure="name variants: RUN:VARIANT")
    names = {variant.name for variant in other.spec().variants}
    found = [(v.name, v.name) for v in one.spec().variants if v.name in names]
    if not found:
        raise UsageError("the two runs share no variant", cure="name them: RUN:VARIANT")
    return found


def _side(store: RunStore, variant: str) -> Side:
    from weightcut.analysis.compare import Side

    names = [v.name for v in store.spec().variants]
    if variant not in names:
        raise UsageError(
            f"unknown variant {variant!r}; {nearest(variant, names)}", place=str(store.folder)
        )
    keys = [c.key for c in store.cells() if c.key.variant == variant and c.key.stage == "task"]
    tasks = {key.task: rows for key in keys if (rows := store.observations(key))}
    return Side(f"{store.folder.name}:{variant}", store.conditions(), tasks)


def _show(comparison: Mapping[str, Any], *, show_all: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"A {comparison['a']}   B {comparison['b']}", markup=False)
    if not comparison["tasks"]:
        console.print("they have no measured task in common")
    for task, found in comparison["tasks"].items():
        console.print(_metrics_table(task, found))
        for side in ("a", "b"):
            if alone := found[f"only_{side}"]:
                console.print(f"{len(alone)} samples are in {side.upper()} only: not compared")
        if found["flips"]:
            _show_flips(console, found["flips"], None if show_all else SHOWN)
        _show_changes(console, found["samples"], None if show_all else SHOWN)


def _metrics_table(task: str, found: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=f"{task}, {found['n']} samples", title_justify="left")
    for heading in ("metric", "A", "B", "B kept of A", "interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for metric, row in found["metrics"].items():
        ratio = row["ratio"]
        interval = f"{_figure(ratio['low'])} to {_figure(ratio['high'])}"
        cells = [_figure(row["a"]), _figure(row["b"]), _figure(ratio["value"]), interval]
        table.add_row(metric, *cells)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show_flips(console: Console, flips: Mapping[str, Any], limit: int | None) -> None:
    for what, words in (("lost", "right in A, wrong in B"), ("gained", "wrong in A, right in B")):
        names = flips[what]
        more = f" and {len(names) - limit} more" if limit and len(names) > limit else ""
        console.print(f"{len(names)} {words}: {', '.join(names[:limit])}{more}", markup=False)
    if flips["p_value"] is not None:
        console.print(f"exact McNemar, two-sided: p = {flips['p_value']:.3g}")


def _show_changes(
    console: Console, samples: Sequence[Mapping[str, Any]], limit: int | None
) -> None:
    """Show the samples whose CodeBLEU, or else whose negative log-likelihood, changed most."""
    for metric in ("codebleu", "nll"):
        changes = [
            (s["b"][metric] - s["a"][metric], s)
            for s in samples
            if metric in s["a"] and metric in s["b"] and s["a"][metric] != s["b"][metric]
        ]
        if not changes:
            continue
        changes.sort(key=lambda change: -abs(change[0]))
        console.print(f"largest changes of {metric} (of {len(changes)} that changed):")
        for change, s in changes[:limit]:
            a, b = s["a"][metric], s["b"][metric]
            console.print(f"  {s['sample']}: {a:.3f} -> {b:.3f} ({change:+.3f})", markup=False)
        return
