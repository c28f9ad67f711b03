"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from weightcut.errors import UsageError
from weightcut.records import StudySpec
from weightcut.study.spec import load_study

Study = Annotated[str, typer.Argument(help="A study file, or the name of a built-in study.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, no progress.")]
Engine = Annotated[
    str,
    typer.Option(
        "--engine", "-e", help="What runs it; its settings as in openvino(precision=f32)."
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first N samples or windows of every task.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key: tasks.0.limit=20; repeatable."
    ),
]


def study_of(name: str, settings: list[str] | None, limit: int | None) -> StudySpec:
    """Read the study that a command names, with its overrides."""
    overrides = dict[str, str]()
    for item in settings or ():
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"cannot read {item!r}", place="--set", cure="write KEY=VALUE")
        overrides[key.strip()] = value
    spec = load_study(name, overrides)
    if limit is None:
        return spec
    changes = {f"tasks.{i}.limit": str(limit) for i in range(len(spec.tasks))}
    return load_study(name, overrides | changes)
