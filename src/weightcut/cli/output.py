"""What all commands share: printing JSON, errors, sizes and progress."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from weightcut.errors import WeightcutError
from weightcut.study.run import Event, Listener

errors = Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """Print plain data as indented JSON."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def complain(error: WeightcutError) -> None:
    """Print an error as place, cause and cure, without a traceback."""
    errors.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
    if error.cure:
        errors.print(f"[bold]what to do:[/] {escape(error.cure)}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Return seconds as a person would say them: `45 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Return bytes with a unit: `269 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


@contextmanager
def interruptible() -> Iterator[None]:
    """Where the user or a signal ends the work inside, say how to go on, and exit with 130."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(["weightcut", *sys.argv[1:]])
        errors.print(f"\nstopped; nothing measured is lost. Go on with: {command}", soft_wrap=True)
        raise typer.Exit(130) from None


def _as_interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def study_progress(quiet: bool) -> Iterator[Listener]:
    """Show a study's cells as they go, on stderr; plain lines where that is no terminal."""
    if quiet:
        yield lambda _event: None
        return
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[phrase]}"),
        TextColumn("[dim]{task.fields[left]}"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with bar:
        yield _Listener(bar)


class _Listener:
    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=1.0, phrase="", left="")
        self._count = self._total = 0
        self._said = ""

    def __call__(self, event: Event) -> None:
        left = f"about {duration(event.left)} left" if event.left is not None else ""
        cell = escape(event.cell)
        if event.kind == "planned" and event.plan is not None:
            self._count, self._total = 0, len(event.plan.cells)
            seconds = duration(event.plan.seconds)
            if self._total:
                errors.print(f"{self._total} cells to do, about {seconds}")
            return
        if event.kind == "progress":
            self._bar.update(
                self._task,
                description=cell,
                completed=event.share or 0.0,
                phrase=escape(event.phrase),
                left=left,
            )
            if event.share is None and f"{cell} {event.phrase}" != self._said:
                self._said = f"{cell} {event.phrase}"
                errors.print(f"        {cell}: {escape(event.phrase)}", soft_wrap=True)
            return
        if event.kind == "started":
            self._bar.update(self._task, description=cell, completed=0.0, phrase="", left=left)
            return
        self._count += 1
        mark = {"finished": "[green]done[/]", "failed": "[red]FAILED[/]"}.get(
            event.kind, "[yellow]skipped[/]"
        )
        line = f"[{self._count}/{self._total}] {mark} {cell}: {escape(event.phrase)}"
        errors.print(f"{line}  [dim]{left}[/]" if left else line, soft_wrap=True)
