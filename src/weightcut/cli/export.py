"""`weightcut export`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from weightcut import registry
from weightcut.cli import options
from weightcut.cli.output import print_json

_KEPT = ("json", "csv", "html")


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a results.json.")],
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="MLflow: http://HOST:PORT, or a folder.")
    ],
    experiment: Annotated[
        str | None, typer.Option(help="Experiment to log to; default weightcut/<study>.")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Log a run to MLflow: a run for the study, one below it for each variant, with the reports.

    Needs the extra `mlflow`. What is logged goes to the address named here and nowhere else.

    Example: weightcut export runs/quickstart --mlflow http://localhost:5000
    """
    from weightcut.reports.mlflow import export as log
    from weightcut.study.publish import read_run

    results = read_run(run)
    with tempfile.TemporaryDirectory() as folder:
        files = [registry.load("report", name)(results, Path(folder)) for name in _KEPT]
        ids = log(results, mlflow, experiment, files)
    if json_:
        print_json({"run": ids.pop(""), "variants": ids})
    else:
        typer.echo(f"logged {len(ids) - 1} variants as runs below {ids['']}")
