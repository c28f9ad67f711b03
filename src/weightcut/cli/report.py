"""`weightcut report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightcut import registry
from weightcut.cli import options
from weightcut.cli.output import errors, print_json
from weightcut.errors import NotHere, UsageError, nearest


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, or a results.json.")],
    format_: Annotated[
        str,
        typer.Option("--format", "-f", help="md, html, pdf, csv, json, png, svg; with commas."),
    ] = "md,html,csv,json",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write here instead of into the run folder.")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="A price file (docs/cost.md); default: prices.yaml in the run folder."),
    ] = None,
    json_: options.Json = False,
) -> None:
    """Write a run's reports anew from what was measured; nothing is run again.

    Example: weightcut report runs/quickstart --format html,pdf --prices prices.yaml
    """
    from weightcut.study.publish import read_run

    names = list(dict.fromkeys(name.strip() for name in format_.split(",") if name.strip()))
    known = registry.names("report")
    for name in names:
        if name not in known:
            raise UsageError(f"unknown format {name!r}; {nearest(name, known)}", place="--format")
    if not names:
        raise UsageError("no format is named", place="--format", cure=f"name {', '.join(known)}")
    results = read_run(run, prices)
    folder = out or (run if run.is_dir() else run.parent)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [str(registry.load("report", name)(results, folder)) for name in names]
    except OSError as error:
        raise NotHere(
            f"cannot write the report: {error.strerror or error}",
            place=str(folder),
            cure="name another folder with --out",
        ) from error
    for warning in results.warnings:
        errors.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    if json_:
        print_json({"written": written, "warnings": results.warnings})
    else:
        for path in written:
            typer.echo(path)
