"""`weightcut aggregate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli import options
from weightcut.cli.output import errors, print_json
from weightcut.errors import NotHere, UsageError, WeightcutError

_HOLDS = ("results.sqlite", "results.json")


def aggregate(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, results.json files, or folders of runs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table.")] = Path("summary.csv"),
    plot: Annotated[
        Path | None,
        typer.Option(help="Trends over the runs, .svg or .png; default: beside the table."),
    ] = None,
    prices: Annotated[Path | None, typer.Option(help="A price file for all runs.")] = None,
    json_: options.Json = False,
) -> None:
    """Join many runs into one tidy table, one row a measurement, and plot trends over them.

    Runs are in the order in which they were begun. One that cannot be read is told on stderr and
    left out; the exit code is then 1.

    Example: weightcut aggregate runs/monday runs/tuesday -o summary.csv
    """
    from weightcut.analysis.tidy import Row, rows
    from weightcut.reports import charts, summary
    from weightcut.study.publish import read_run

    found, unread = [], []
    for place in dict.fromkeys(place for run in runs for place in _places(run)):
        try:
            found.append((place, read_run(place, prices)))
        except WeightcutError as error:
            unread.append(f"{place}: {error.cause}")
    for line in unread:
        errors.print(f"left out: {line}", style="yellow", markup=False, soft_wrap=True)
    if not found:
        raise UsageError("none of the runs could be read", cure="name run folders")
    found.sort(key=lambda pair: pair[1].started or "")
    names = _names([place for place, _ in found])
    table: list[Row] = [
        row for name, (_, one) in zip(names, found, strict=True) for row in rows(one, name)
    ]
    try:
        written = [summary.write(table, out)]
        drawn = charts.trends(table, names)
        if drawn.chart is not None:
            written.append(charts.save(drawn.chart, plot or out.with_suffix(".svg")))
    except OSError as error:
        raise NotHere(f"cannot write: {error.strerror or error}", place=str(out)) from error
    if drawn.left_out:
        errors.print(f"the plot leaves out {drawn.left_out} variants; the table has all of them")
    if json_:
        paths = [str(path) for path in written]
        print_json({"runs": names, "rows": len(table), "written": paths, "left_out": unread})
    else:
        for path in written:
            typer.echo(path)
        if drawn.missing:
            errors.print(drawn.missing, markup=False)
    if unread:
        raise typer.Exit(1)


def _places(run: Path) -> Iterator[Path]:
    """Yield the run itself, or the runs that lie in a folder of runs."""
    if not run.is_dir() or any((run / name).is_file() for name in _HOLDS):
        yield run
        return
    inside = [
        path
        for path in sorted(run.iterdir())
        if path.is_dir() and any((path / name).is_file() for name in _HOLDS)
    ]
    yield from inside or [run]


def _names(places: Sequence[Path]) -> list[str]:
    """Return a short name for each run, all different: as much of the path's end as that needs."""
    parts = [
        (place.parent if place.suffix == ".json" else place).resolve().parts for place in places
    ]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(map(str, places), start=1)]
