"""`weightcut run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from weightcut.cli import options
from weightcut.cli.output import errors, interruptible, print_json, study_progress
from weightcut.records.results import Results


def run(
    study: options.Study = "quickstart",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder; default runs/<study>.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this variant (and the baseline); repeatable.")
    ] = None,
    limit: options.Limit = None,
    set_: options.Set = None,
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Wall seconds that one cell may take.")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Run a study, or go on with it, and write its reports.

    Example: weightcut run quickstart --only ov-int8 --limit 20 --out runs/small
    """
    from weightcut.reports import terminal
    from weightcut.study.run import run_study

    spec = options.study_of(study, set_, limit)
    folder = out or Path("runs") / spec.study
    with interruptible(), study_progress(quiet=json_) as listen:
        results = run_study(spec, folder, only=tuple(only or ()), listen=listen, timeout=timeout)
    if json_:
        print_json(results.model_dump(mode="json", by_alias=True))
    else:
        console = Console()
        console.print(terminal.table(results))
        console.print(terminal.summary(results), soft_wrap=False)
        _show_predictions(results)
        console.print(f"\nreport: {folder / 'report.html'} (also report.md, results.json, .csv)")
    if any(variant.errors for variant in results.variants):
        raise typer.Exit(1)


def _show_predictions(results: Results) -> None:
    """Say how well the plan held."""
    from weightcut.analysis.predictions import median_errors

    memory, seconds, count = median_errors(results)
    if memory is not None and seconds is not None:
        errors.print(
            f"the plan held to {memory:.0%} in memory and {seconds:.0%} in time, in the median of "
            f"{count} cells (results.json, `cells`, has each)",
            soft_wrap=True,
        )
