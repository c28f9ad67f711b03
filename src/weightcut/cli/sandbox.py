"""`weightcut sandbox run` and `weightcut sandbox check`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json
from weightcut.errors import NotHere, UsageError, nearest

app = typer.Typer(help="Run untrusted code behind the walls of the sandbox.", no_args_is_help=True)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST = 16 << 20


@app.callback()
def _group() -> None:
    """Run untrusted code behind the walls of the sandbox."""


@app.command()
def run(
    program: Annotated[Path, typer.Argument(help="A program: .py, .java or .cs.")],
    timeout: Annotated[float, typer.Option(help="CPU seconds.")] = 5.0,
    memory: Annotated[str, typer.Option(help="Bytes of memory, with K, M or G.")] = "512M",
    sandbox: Annotated[
        str | None, typer.Option(help="fork-server (fast) or bubblewrap (strong).")
    ] = None,
    json_: Json = False,
) -> None:
    """Run one program; exit code 0 if it ran to its last line without an exception, else 1.

    Example: weightcut sandbox run answer.py --timeout 5 --memory 512M
    """
    from weightcut.sandbox import SUFFIXES, Sandbox, kind_named

    language = SUFFIXES.get(program.suffix or ".py")
    if language is None:
        raise UsageError(
            f"unknown kind of program; {nearest(program.suffix, SUFFIXES)}", place=str(program)
        )
    source, limit = _read(program), _bytes(memory)
    kind = kind_named(sandbox, "--sandbox") if sandbox is not None else None
    with Sandbox(workers=1, kind=kind) as one:
        result = one.run_program(source, language=language, timeout=timeout, memory=limit)
    if json_:
        print_json(result.model_dump())
    else:
        typer.echo(result.output, nl=not result.output.endswith("\n") and bool(result.output))
        errors.print(f"{result.status} ({result.cpu_seconds:.2f} s of CPU time)")
    raise typer.Exit(0 if result.status == "passed" else 1)


@app.command()
def check(json_: Json = False) -> None:
    """Show what this machine protects from untrusted code; exit code 1 if it must not run here.

    Example: weightcut sandbox check
    """
    from weightcut.sandbox import KINDS, LANGUAGES, capabilities, missing, protections

    refusals: dict[str, str] = dict.fromkeys(KINDS, "")
    for kind in KINDS:
        try:
            protections(kind)
        except NotHere as error:
            refusals[kind] = f"{error}; {error.cure}"
    chosen = ""
    try:
        protections()
    except NotHere as error:
        chosen = f"{error}; {error.cure}"
    languages: dict[str, str] = {language: missing(language) or "" for language in LANGUAGES}
    data: dict[str, Any] = {
        "usable": not chosen,
        "protections": [part.model_dump() for part in capabilities()],
        "sandboxes": _table(refusals),
        "languages": _table(languages),
    }
    if json_:
        print_json(data)
    else:
        for part in capabilities():
            typer.echo(_line(part.name, part.reason, f"stops {part.stops}"))
        typer.echo("")
        for name, reason in (*refusals.items(), *languages.items()):
            typer.echo(_line(name, reason, "can be used"))
    raise typer.Exit(1 if chosen else 0)


def _table(reasons: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "present": not reason, "reason": reason} for name, reason in reasons.items()
    ]


def _line(name: str, reason: str, good: str) -> str:
    return f"{name:<12} {'ABSENT ' if reason else 'present'}  {reason or good}"


def _read(program: Path) -> bytes:
    try:
        if not program.is_file():
            raise UsageError(
                "no such file" if not program.exists() else "it is not a plain file",
                place=str(program),
            )
        if program.stat().st_size > _MOST:
            raise UsageError(f"it is larger than {_MOST >> 20} MiB", place=str(program))
        return program.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", place=str(program)) from None


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(
            f"cannot read {text!r} as a size", place="--memory", cure="write 512M or 2G"
        )
    return int(found[1]) * _UNITS[found[2].upper()]
