"""`weightcut dashboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json
from weightcut.errors import UsageError


def dashboard(
    runs: Annotated[
        Path, typer.Argument(help="A folder of runs, or one run; it need not exist yet.")
    ] = Path("runs"),
    host: Annotated[str, typer.Option(help="Address of loopback to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to bind.")] = 8501,
    json_: Json = False,
) -> None:
    """Show runs in the browser, and start studies there; Ctrl+C ends it, not the studies.

    Example: weightcut dashboard runs --port 8501
    """
    from weightcut.dashboard.launch import serve

    if runs.exists() and not runs.is_dir():
        raise UsageError("not a folder", place=str(runs), cure="name a folder of runs")

    def started(url: str) -> None:
        if json_:
            print_json({"url": url, "runs": str(runs.resolve())})
        else:
            errors.print(f"dashboard of {runs}: {url}", markup=False, soft_wrap=True)

    raise typer.Exit(serve(runs, host, port, started))
