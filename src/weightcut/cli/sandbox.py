"""`weightcut sandbox run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json
from weightcut.errors import UsageError

app = typer.Typer(help="Run untrusted code behind the walls of the sandbox.", no_args_is_help=True)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@app.callback()
def _group() -> None:
    """Run untrusted code behind the walls of the sandbox."""


@app.command()
def run(
    program: Annotated[Path, typer.Argument(help="A Python program.")],
    timeout: Annotated[float, typer.Option(min=0.01, help="CPU seconds.")] = 5.0,
    memory: Annotated[str, typer.Option(help="Bytes of memory, with K, M or G.")] = "512M",
    json_: Json = False,
) -> None:
    """Run one program; exit code 0 if it ran to its last line without an exception, else 1.

    Example: weightcut sandbox run answer.py --timeout 5 --memory 512M
    """
    from weightcut.sandbox import Sandbox

    source, limit = _read(program), _bytes(memory)
    with Sandbox(workers=1) as sandbox:
        result = sandbox.run_program(source, timeout=timeout, memory=limit)
    if json_:
        print_json(result.model_dump())
    else:
        typer.echo(result.output, nl=not result.output.endswith("\n") and bool(result.output))
        errors.print(f"{result.status} ({result.cpu_seconds:.2f} s of CPU time)")
    raise typer.Exit(0 if result.status == "passed" else 1)


def _read(program: Path) -> bytes:
    try:
        return program.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", place=str(program)) from None


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(
            f"cannot read {text!r} as a size", place="--memory", cure="write 512M or 2G"
        )
    return int(found[1]) * _UNITS[found[2].upper()]
