"""`weightcut methods`: every compression method, its settings, and whether it can run here."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from weightcut import registry
from weightcut.cli.options import Json
from weightcut.cli.output import print_json

_INDENT = 24


def methods(
    name: Annotated[
        str | None, typer.Argument(help="One method, to see its settings as well.")
    ] = None,
    json_: Json = False,
) -> None:
    """List the compression methods: bits, formats, needs, source, and whether they run here.

    Example: weightcut methods gptq
    """
    names = registry.names("method") if name is None else (name,)
    rows = [_row(one) for one in names]
    if json_:
        print_json(rows if name is None else rows[0])
    elif name is None:
        _list(rows)
    else:
        _show(rows[0])


def _row(name: str) -> dict[str, Any]:
    """Return what there is to know of a method, as plain data."""
    from weightcut.hardware.verdicts import best, devices, part

    try:
        method = registry.load("method", name)
    except ImportError as error:
        return {
            "name": name,
            "runs_here": False,
            "verdict": "not-here",
            "reason": f"it cannot be imported: {error}",
        }
    made, said = method(), inspect.getdoc(method) or ""
    needs = made.requirements()
    judged = best(part("method", name, method), devices())
    return {
        "name": name,
        "summary": said.partition("\n\n")[0].replace("\n", " "),
        "description": said,
        "bits": made.bits,
        "accepts": sorted(method.accepts),
        "produces": method.produces,
        "engines": [
            engine
            for engine in registry.names("engine")
            if method.produces in registry.load("engine", engine).accepts
        ],
        "needs": _needs(method, needs),
        "packages": list(needs.packages),
        "extra": needs.extra or None,
        "paper": _link(method.paper),
        "settings": _settings(method),
        "runs_here": judged.verdict != "not-here",
        "verdict": judged.verdict,
        "reason": judged.worst[0].reason if judged.verdict != "works" else None,
    }


def _needs(method: Any, needs: Any) -> list[str]:
    found = {
        "calibration text": method.needs_calibration,
        "training text": method.trains,
        "a GPU": needs.gpu,
    }
    return [what for what, needed in found.items() if needed]


def _link(paper: str) -> str | None:
    """Return a paper's address."""
    if not paper:
        return None
    return paper.replace("arXiv:", "https://arxiv.org/abs/") if "://" not in paper else paper


def _settings(method: Any) -> list[dict[str, Any]]:
    """Return a method's settings with type, default and meaning, from its JSON schema."""
    schema = method.model_json_schema()["properties"]
    return [
        {
            "name": field,
            "type": _type(schema[field]),
            "default": schema[field].get("default"),
            "description": schema[field].get("description", ""),
        }
        for field in method.model_fields
        if field != "kind"
    ]


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    return str(schema.get("const", schema.get("type", "value")))


def _list(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "summary" in row:
            bits = f", {row['bits']:g} bits" if row["bits"] else ""
            formats = f"{' or '.join(row['accepts'])} -> {row['produces']}{bits}"
            needs = f"; needs {', '.join(row['needs'])}" if row["needs"] else ""
            typer.echo(f"{row['name']:<{_INDENT - 2}}  {formats}{needs}")
            typer.echo(f"{'':{_INDENT}}{row['summary']}")
        if row["reason"]:
            left = row["name"] if "summary" not in row else ""
            typer.secho(f"{left:<{_INDENT}}{_verdict(row)}", fg="yellow")
    here = sum(row["runs_here"] for row in rows)
    typer.echo(f"{here} of {len(rows)} methods can run here. Settings: weightcut methods NAME")


def _show(row: dict[str, Any]) -> None:
    typer.echo(row.get("description", row["name"]))
    if "settings" not in row:
        typer.echo(f"not here: {row['reason']}")
        return
    typer.echo("\nsettings:" if row["settings"] else "\nno settings")
    for one in row["settings"]:
        default = "null" if one["default"] is None else str(one["default"]).lower()
        typer.echo(f"  {one['name']} = {default}  ({one['type']}): {one['description']}")
    typer.echo(f"\nformats: {' or '.join(row['accepts'])} -> {row['produces']}")
    typer.echo(f"opened by: {', '.join(row['engines']) or 'no engine'}")
    typer.echo(f"needs: {', '.join([*row['needs'], *row['packages']]) or 'nothing'}")
    if row["extra"]:
        typer.echo(f'brought by: pip install "weightcut[{row["extra"]}]"')
    if row["paper"]:
        typer.echo(f"source: {row['paper']}")
    typer.echo(_verdict(row))


def _verdict(row: dict[str, Any]) -> str:
    if not row["runs_here"]:
        return f"not here: {row['reason']}"
    return f"works here but slowly: {row['reason']}" if row["reason"] else "can run here"
