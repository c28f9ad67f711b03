"""`weightcut plan`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weightcut.cli import options
from weightcut.cli.output import duration, print_json, size

if TYPE_CHECKING:
    from weightcut.study.plan import PlannedCell


def plan(
    study: options.Study = "quickstart",
    only: Annotated[
        list[str] | None,
        typer.Option(help="Plan only this variant (and the baseline); repeatable."),
    ] = None,
    limit: options.Limit = None,
    set_: options.Set = None,
    json_: options.Json = False,
) -> None:
    """Show every cell of a study: predicted time, memory and disk, and what is refused, and why.

    A cell that would not fit is refused, with the number and the nearest recipe that fits. What the
    predictions rest on and how far they were off: docs/preflight.md.

    Example: weightcut plan studies/quickstart.yaml --limit 20
    """
    from weightcut.hardware.probe import machine
    from weightcut.hardware.speed import REFERENCE
    from weightcut.models.resolve import resolve
    from weightcut.settings import artifacts_folder
    from weightcut.study.plan import make_plan

    spec = options.study_of(study, set_, limit)
    checkpoint = resolve(spec.model)
    made = make_plan(spec, checkpoint, machine(), Path(artifacts_folder()), only or ())
    if json_:
        totals = {"seconds": made.seconds, "memory": made.memory, "disk": made.disk}
        print_json(made.model_dump(mode="json") | {"total": totals})
        return
    table = Table(title=f"{escape(spec.study)} on {escape(spec.model)}", title_justify="left")
    table.add_column("cell")
    for heading in ("time", "memory", "disk"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for cell in made.cells:
        table.add_row(
            escape(str(cell.key)),
            duration(cell.prediction.seconds),
            size(cell.prediction.memory),
            size(cell.prediction.disk),
            _state(cell),
        )
    table.add_section()
    table.add_row("all", duration(made.seconds), size(made.memory), size(made.disk), "")
    console = Console()
    console.print(table)
    said = dict.fromkeys((c.key.variant, line) for c in made.cells for line in _lines(c))
    for variant, line in said:
        console.print(f"{escape(variant)}: {escape(line)}", highlight=False)
    at = made.speed
    source = "measured here, at most a day ago"
    if at == REFERENCE:
        source = "not measured here but taken from the machine that the costs were fitted on"
    console.print(
        f"predicted for {at.gemm / 1e9:,.0f} GFLOP/s in bf16, {at.read / 1e9:.0f} GB/s of memory, "
        f"{at.start:.0f} s to start: {source}",
        style="dim",
    )


def _state(cell: PlannedCell) -> str:
    if cell.skip:
        return "refused" if cell.refused else "skipped"
    return "made before" if cell.cached else ""


def _lines(cell: PlannedCell) -> Iterator[str]:
    """Yield what is to be said of a cell below the table: its recipe as run, and all notes."""
    if cell.skip:
        yield f"{_state(cell)}: {cell.skip}"
    elif cell.key.stage == "build":
        yield from filter(None, (" | ".join(step.label() for step in cell.steps), cell.note))
