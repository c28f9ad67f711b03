"""`weightcut report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightcut import registry
from weightcut.cli import options
from weightcut.cli.output import print_json
from weightcut.errors import UsageError, nearest


def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    format_: Annotated[
        str, typer.Option("--format", "-f", help="Formats, separated by commas.")
    ] = "md,html,csv,json",
    json_: options.Json = False,
) -> None:
    """Write a run's reports anew from what was measured; nothing is run again.

    Example: weightcut report runs/quickstart --format html,json
    """
    from weightcut.study.publish import analyse

    names = [name.strip() for name in format_.split(",") if name.strip()]
    for name in names:
        if name not in registry.names("report"):
            raise UsageError(f"unknown format {name!r}; {nearest(name, registry.names('report'))}")
    results = analyse(folder)
    written = [str(registry.load("report", name)(results, folder)) for name in names]
    if json_:
        print_json({"written": written})
    else:
        for path in written:
            typer.echo(path)
