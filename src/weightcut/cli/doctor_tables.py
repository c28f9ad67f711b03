"""How `weightcut doctor` looks in a terminal: tables of at most 80 columns, reasons as notes."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from weightcut.cli.output import size

_WORDS = {"works": "[green]works[/]", "slow": "[yellow]slowly[/]", "not-here": "[red]not here[/]"}
_MOST = 8  # recipes shown


def show(report: dict[str, Any]) -> None:
    """Print a report of `weightcut.cli.doctor.examine`."""
    console = Console(file=sys.stdout, highlight=False)
    _machine(console, report)
    _parts(console, report)
    if report["model"]:
        _recipes(console, report)
    _software(console, report)


def _machine(console: Console, report: dict[str, Any]) -> None:
    here = report["machine"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    cores = f"{here['cores']} usable"
    if here["cores_physical"]:
        cores += f", {here['cores_physical']} physical"
    table.add_row("CPU", escape(here["cpu"]))
    table.add_row("", escape(", ".join(here["cpu_flags"]) or "no flags that matter"))
    table.add_row("cores", cores)
    available = size(here["memory_available_bytes"])
    table.add_row("memory", f"{size(here['memory_bytes'])}, {available} available")
    table.add_row("disk", f"{size(here['disk_free_bytes'])} free in the cache folder")
    for gpu in here["gpus"]:
        table.add_row("GPU", escape(f"{_gpu(gpu)}, driver {gpu['driver']}"))
    if not here["gpus"]:
        table.add_row("GPU", "none that nvidia-smi shows")
    console.rule("This machine", align="left")
    console.print(table)
    for device in report["devices"]:
        if device["kind"] == "gpu":
            console.print(escape(_about(device, report["card"])), soft_wrap=False)


def _gpu(gpu: dict[str, Any]) -> str:
    memory = size(gpu["memory_bytes"]) if gpu["memory_bytes"] else "memory unknown"
    return f"{gpu['name']}, {memory}, compute capability {gpu['compute_capability'] or 'unknown'}"


def _about(device: dict[str, Any], card: dict[str, Any] | None) -> str:
    """Return what a GPU computes in hardware, and a named card's memory and its source."""
    formats = ", ".join(device["formats"]) or "none below 32 bits"
    said = f"{device['name']} computes in hardware: {formats}."
    if card is None:
        return said
    return (
        f"Judged with a {card['name']} in place of the GPUs here: {card['memory_gib']:g} GiB, "
        f"{card['bandwidth_gbs']:g} GB/s, compute capability {device['compute_capability']} "
        f"({card['source']}). {said}"
    )


class _Notes:
    """Numbers the reasons in the order in which they come up, equal ones once."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str, str], int] = {}

    def marks(self, findings: list[dict[str, Any]]) -> str:
        keys = [(f["reason"], f["instead"], f["source"]) for f in findings]
        return " ".join(str(self._numbers.setdefault(k, len(self._numbers) + 1)) for k in keys)

    def show(self, console: Console) -> None:
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(overflow="fold")
        for (reason, instead, source), number in self._numbers.items():
            text = escape(reason) + (f". [bold]Instead:[/] {escape(instead)}" if instead else "")
            table.add_row(str(number), text)
            if source:
                table.add_row("", f"[dim]{escape(source)}[/]")
        console.print(table)


def _parts(console: Console, report: dict[str, Any]) -> None:
    devices, notes = report["devices"], _Notes()
    for kind in ("engine", "method"):
        console.print()
        console.rule(f"{kind.capitalize()}s", align="left")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column(kind, no_wrap=True)
        for device in devices:
            table.add_column("CPU" if device["kind"] == "cpu" else escape(device["name"]))
        for part in report["parts"]:
            if part["kind"] == kind:
                cells = [
                    f"{_WORDS[one['verdict']]} [dim]{notes.marks(_telling(one))}[/]"
                    for one in part["verdicts"]
                ]
                table.add_row(escape(part["name"]), *cells)
        console.print(table)
    console.print()
    notes.show(console)


def _telling(judgement: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings to show: of what does not work here, only those that make it so."""
    findings: list[dict[str, Any]] = judgement["findings"]
    if judgement["verdict"] != "not-here":
        return findings
    return [finding for finding in findings if finding["verdict"] == "not-here"]


def _recipes(console: Console, report: dict[str, Any]) -> None:
    model, rows, labels = report["model"], report["recipes"], _labels(report["devices"])
    console.print()
    console.rule(f"Recipes for {escape(model['reference'])}, best first", align="left")
    console.print(f"{model['parameters'] / 1e6:,.1f} M weights ({model['counted']})")
    there = [
        f"{size(one['memory_bytes'])} on {labels[one['name']]}"
        for one in report["devices"]
        if one["memory_bytes"] is not None
    ]
    console.print(escape(f"memory there: {', '.join(there)}"))
    fitting = [row for row in rows if row["fits"]]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("recipe", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    table.add_column("on", overflow="fold")
    for heading in ("weights", "in memory"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for row in fitting[:_MOST]:
        table.add_row(
            escape(row["recipe"] or "as it is"),
            escape(row["engine"]),
            escape(labels[row["device"]]),
            size(row["weight_bytes"]),
            size(row["memory_bytes"]),
            _WORDS[row["verdict"]],
        )
    if fitting:
        console.print(table)
        if len(fitting) > _MOST:
            console.print(f"... and {len(fitting) - _MOST} more (--json)")
    else:
        console.print("[red]Nothing fits.[/]")
    tight = [row for row in rows if not row["fits"]]
    if tight:
        console.print("\nToo large here:")
        for row in tight[:_MOST]:
            name = f"{row['recipe'] or 'as it is'} ({row['engine']}, {labels[row['device']]})"
            console.print(Padding(escape(f"{name}: {row['reason']}"), (0, 0, 0, 2)))
        if len(tight) > _MOST:
            console.print(f"  ... and {len(tight) - _MOST} more (--json)")
    console.print(
        "\nweights: weights x bits; embeddings that stay at 16 bit come on top. What a recipe "
        "does to quality is not predicted: measure it with `weightcut run`.",
        style="dim",
    )


def _labels(devices: list[dict[str, Any]]) -> dict[str, str]:
    """Return what to call each device in a narrow column."""
    only = len(devices) == 2
    return {
        one["name"]: "CPU" if one["kind"] == "cpu" else "GPU" if only else one["name"]
        for one in devices
    }


def _software(console: Console, report: dict[str, Any]) -> None:
    console.print()
    console.rule("Software", align="left")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for extra in report["extras"]:
        state = _state(extra["installed"], "installed", "absent")
        table.add_row(f"extra {extra['name']}", state, escape(_cure(extra)))
    if not report["extras"]:
        table.add_row("extras", "unknown", "the installed metadata names none; install it anew")
    native = report["codebleu_extension"]
    state = _state(native["in_use"], "in use", "absent")
    table.add_row("CodeBLEU in C", state, escape(native["reason"]))
    sandbox = report["sandbox"]
    state = _state(sandbox["usable"], "usable", "refused")
    table.add_row("sandbox", state, escape(sandbox["reason"]))
    for part in sandbox["protections"]:
        state = _state(part["present"], "present", "absent")
        about = part["reason"] if not part["present"] else f"stops {part['stops']}"
        table.add_row(f"  {part['name']}", state, escape(about))
    for language in sandbox["languages"]:
        state = _state(language["present"], "runs", "absent")
        table.add_row(f"  {language['name']}", state, escape(language["reason"]))
    console.print(table)


def _state(good: bool, yes: str, no: str) -> str:
    return f"[green]{yes}[/]" if good else f"[yellow]{no}[/]"


def _cure(extra: dict[str, Any]) -> str:
    if extra["installed"]:
        return ""
    return f"{extra['install']} (brings {', '.join(extra['missing'])})"
