"""`weightcut tune`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weightcut import registry
from weightcut.cli.options import Json
from weightcut.cli.output import duration, interruptible, print_json, size, study_progress
from weightcut.errors import UsageError, nearest
from weightcut.records import Keep

if TYPE_CHECKING:
    from weightcut.study.tune import Goal, Tuned

_TIME = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def tune(
    model: Annotated[str, typer.Argument(help="Alias, folder, GGUF file, or hub:org/name@rev.")],
    keep: Annotated[
        str, typer.Option("--keep", help="METRIC:SHARE of the baseline that must be kept.")
    ] = "codebleu:0.95",
    minimize: Annotated[
        str, typer.Option("--minimize", help="latency (of one answer), memory or size.")
    ] = "latency",
    budget: Annotated[
        str, typer.Option("--budget", help="Wall time in all, such as 90s, 20m or 2h.")
    ] = "20m",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; default runs/tune-<model>.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Search this method only; repeatable.")
    ] = None,
    task: Annotated[str, typer.Option(help="The task that is executed at the end.")] = "humaneval",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N samples of that task.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_: Json = False,
) -> None:
    """Search methods and settings for the lightest that keeps quality; killed, it goes on.

    Example: weightcut tune smollm2-135m --keep codebleu:0.95 --minimize latency --budget 20m
    """
    from weightcut.models.resolve import resolve
    from weightcut.study.space import ways
    from weightcut.study.tune import Goal, Search

    if minimize not in get_args(Goal):
        raise UsageError(
            f"cannot minimize {minimize!r}; {nearest(minimize, get_args(Goal))}", place="--minimize"
        )
    wanted, seconds = _keep(keep), _seconds(budget)
    checkpoint = resolve(model)
    found = ways(checkpoint.format, method or ())
    goal = cast("Goal", minimize)
    tasks: list[dict[str, Any]] = [{"name": task}, {"name": "perplexity"}]
    if limit is not None:
        tasks[0]["limit"] = limit
    folder = out or Path("runs") / f"tune-{Path(model).name or 'model'}"
    with interruptible(), study_progress(quiet=json_) as listen:
        search = Search(
            folder,
            model,
            checkpoint,
            found,
            wanted,
            goal,
            tasks,
            _baseline_engine(checkpoint.format),
            budget=seconds,
            seed=seed,
            listen=listen,
        )
        tuned = search.run()
    if json_:
        print_json(_plain(tuned, goal))
    else:
        _show(tuned, goal, folder)


def _baseline_engine(source: str) -> str:
    """Return the engine for the model as it is: transformers where that opens it."""
    for name in ("transformers", *registry.names("engine")):
        if source in registry.load("engine", name).accepts:
            return name
    raise UsageError(f"no engine opens a model in the format {source!r} as it is")


def _keep(text: str) -> Keep:
    metric, colon, share = text.partition(":")
    try:
        value = float(share) if colon else 0.95
    except ValueError:
        value = -1.0
    if not metric or not 0 < value <= 1:
        raise UsageError(
            f"cannot read {text!r}", place="--keep", cure="write METRIC:SHARE, as codebleu:0.95"
        )
    return Keep(metric=metric, share=value)


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text.strip().lower())
    if found is None or float(found[1]) == 0:
        raise UsageError(f"cannot read {text!r}", place="--budget", cure="write 90s, 20m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _plain(tuned: Tuned, goal: Goal) -> dict[str, Any]:
    """Return what came of it as plain data, the trials in the order in which they were made."""
    from weightcut.study.tune import measured

    by_name = {variant.name: variant for variant in tuned.results.variants}
    return {
        "minimize": goal,
        "keep": tuned.results.keep,
        "seconds": tuned.spent,
        "trials": [
            {
                "name": one.variant.name,
                "engine": one.variant.engine.kind,
                "recipe": " | ".join(step.label() for step in one.variant.recipe),
                "state": one.state,
                "kl": one.kl,
                "proxy_cost": one.cost,
                "reason": one.reason,
            }
            for one in tuned.trials
        ],
        "frontier": [
            {
                "name": name,
                "verdict": variant.verdict,
                "on_frontier": variant.on_frontier,
                goal: measured(variant, goal),
                "retention": retained.model_dump(mode="json")
                if variant.against_baseline
                and (retained := variant.against_baseline.primary_retention)
                else None,
            }
            for name, variant in by_name.items()
        ],
        "winner": tuned.winner,
        "reason": tuned.reason,
        "artifact": str(tuned.artifact) if tuned.artifact else None,
    }


def _show(tuned: Tuned, goal: Goal, folder: Path) -> None:
    from weightcut.reports.text import interval_of_shares
    from weightcut.study.tune import measured

    console = Console()
    states = [one.state for one in tuned.trials]
    console.print(
        f"{len(states)} recipes tried in {duration(tuned.spent)}: {states.count('passed')} passed "
        f"the proxy, {states.count('rejected')} diverged too far, {states.count('failed')} failed"
    )
    table = Table(title="measured whole", title_justify="left")
    for heading in ("", "recipe", goal, "kept", "verdict"):
        table.add_column(heading, justify="right" if heading == goal else "left")
    for variant in tuned.results.variants:
        cost, against = measured(variant, goal), variant.against_baseline
        unit = (lambda ms: f"{ms:.0f} ms") if goal == "latency" else size
        table.add_row(
            "*" if variant.on_frontier else "",
            escape(variant.name),
            unit(cost) if cost is not None else "",
            interval_of_shares(against.primary_retention if against else None),
            variant.verdict,
        )
    console.print(table)
    console.print("* on the frontier of quality, latency, memory and size", style="dim")
    console.print(escape(f"winner: {tuned.winner or 'none'}: {tuned.reason}"))
    if tuned.artifact:
        console.print(escape(f"its artifact: {tuned.artifact}"), soft_wrap=True)
    console.print(escape(f"report: {folder / 'final' / 'report.html'}"), soft_wrap=True)
