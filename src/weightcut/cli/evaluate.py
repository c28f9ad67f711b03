"""`weightcut evaluate`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from weightcut.cli import options
from weightcut.cli.output import print_json, study_progress
from weightcut.errors import NotHere, WeightcutError
from weightcut.records import StudySpec, VariantResult


def evaluate(
    artifact: Annotated[str, typer.Argument(help="A compressed model's folder, or any model.")],
    task: Annotated[
        str,
        typer.Option(
            "--task",
            "-t",
            help="What to measure: a task, or FILE.py:CLASS of your own; its settings as in "
            "mbpp(data=FOLDER).",
        ),
    ] = "humaneval",
    engine: options.Engine = "transformers",
    limit: options.Limit = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the run, with every answer, here.")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Measure the quality of one model or artifact as it is.

    Example: weightcut evaluate small --task humaneval --engine openvino --limit 20
    """
    from weightcut.api import single_study

    named: dict[str, Any] = {"name": task} | ({"limit": limit} if limit else {})
    spec = single_study(artifact, engine, tasks=[named])
    scores = measure_single(spec, out, json_).tasks[spec.tasks[0].kind]
    if json_:
        print_json({"artifact": artifact, "engine": engine, "task": task, **scores})
        return
    for name, value in scores.items():
        typer.echo(f"{name:16} {show(value)}")


def measure_single(spec: StudySpec, out: Path | None, quiet: bool) -> VariantResult:
    """Run a study of one variant, in a folder that is thrown away unless one is named."""
    from weightcut.study.run import run_study

    with (
        tempfile.TemporaryDirectory(prefix="weightcut-") as scratch,
        study_progress(quiet) as listen,
    ):
        results = run_study(spec, out or Path(scratch) / "run", listen=listen)
    (measured,) = results.variants
    if results.skipped:
        raise NotHere("; ".join(f"{s.cell} was skipped: {s.reason}" for s in results.skipped))
    if measured.errors:
        raise WeightcutError("; ".join(measured.errors), place=spec.model)
    return measured


def show(value: Any) -> str:
    """Return a score as text: a number, or a value with its interval."""
    if isinstance(value, dict) and "value" in value:
        low, high = value.get("low"), value.get("high")
        ends = f" [{show(low)}, {show(high)}]" if low is not None and high is not None else ""
        return show(value["value"]) + ends
    return f"{value:.4g}" if isinstance(value, float) else str(value)
