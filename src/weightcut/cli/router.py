"""`weightcut router`: outcome tables, fitting and evaluating routers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightcut.cli import options
from weightcut.cli.output import errors, print_json
from weightcut.errors import UsageError

if TYPE_CHECKING:
    from weightcut.routing.embedding import Embedding
    from weightcut.routing.runs import Outcomes
    from weightcut.routing.table import Table

app = typer.Typer(
    help="Learn which variant answers which prompt well enough.", no_args_is_help=True
)
Source = Annotated[Path, typer.Argument(help="A run folder, or an outcome table.")]
Quality = Annotated[
    str | None,
    typer.Option(
        help="Of a run: codebleu, pass@1, correct (default: the study's). Of a table: a column."
    ),
]
Keep = Annotated[float, typer.Option(help="Share of the full model's mean quality to keep.")]
Confidence = Annotated[float, typer.Option(help="Confidence of the promise that it is kept.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Only this variant; repeatable. All without it.")
]
Full = Annotated[
    str | None,
    typer.Option(
        help="The full model that promises are about; default: a run's baseline, else the dearest."
    ),
]
EmbeddingFolder = Annotated[
    Path | None,
    typer.Option(
        "--embedding",
        help="A local model (transformers' format) whose view of prompts becomes a feature: it "
        "runs at every decision, which then takes tens of milliseconds and more.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of splits and of learning.")]


@app.command("table")
def table(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .csv, .jsonl or .parquet file.")
    ] = None,
    quality: Quality = None,
    json_: options.Json = False,
) -> None:
    """Turn a run into an outcome table: prompt_id, prompt, variant, quality, cost, and scores.

    Example: weightcut router table runs/quickstart -o outcomes.csv
    """
    from weightcut.routing.table import write_table

    rows, baseline, notes = _run_outcomes(run, quality)
    if out is None and not json_:
        out = Path("outcomes.csv")
    if out is not None:
        write_table(rows, out)
    if json_:
        print_json({"rows": len(rows), "table": str(out)} if out else rows)
        return
    _warn(notes)
    variants = sorted({row["variant"] for row in rows})
    typer.echo(f"{len(rows)} rows, variants {', '.join(variants)}: {out}")
    typer.echo(f"the study's baseline is {baseline}: give --full {baseline} to fit and evaluate")


@app.command("fit")
def fit(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the router.")],
    quality: Quality = None,
    policy: Annotated[str, typer.Option(help="How to predict; see `router evaluate`.")] = "blend",
    only: Only = None,
    full: Full = None,
    keep: Keep = 0.95,
    confidence: Confidence = 0.95,
    embedding: EmbeddingFolder = None,
    seed: Seed = 0,
    json_: options.Json = False,
) -> None:
    """Learn a router from outcomes and calibrate what it promises.

    Example: weightcut router fit outcomes.csv -o my-router --keep 0.95 --confidence 0.95
    """
    from weightcut.routing.files import check_new, write_router
    from weightcut.routing.fit import fit_router

    check_new(out)
    outcomes = _outcomes(source, quality, only, full)
    with _progress(json_) as say:
        router = fit_router(
            outcomes,
            policy,
            keep,
            confidence,
            seed,
            lambda phrase: say(phrase, None),
            _embedding(embedding),
        )
    if source.is_dir():
        # `weightcut serve` finds there who answers.
        facts = {"run": str(source.resolve()), "cost_unit": "seconds"}
        router = replace(router, trained={**router.trained, **facts})
    write_router(router, out)
    if json_:
        print_json(
            {
                "router": str(out),
                "policy": policy,
                "variants": list(router.variants),
                "costs": list(router.costs),
                "qualities": list(router.qualities),
                "allowance": router.allowance,
                "thresholds": router.thresholds if router.allowance is not None else None,
                "promise": dict(router.promise),
                "trained": dict(router.trained),
            }
        )
        return
    _warn(outcomes.warnings)
    typer.echo(f"router {out}: {' < '.join(router.variants)} by cost; policy {policy}")
    typer.echo(str(router.promise["says"]))
    for name, threshold in router.thresholds.items():
        if router.allowance is not None:
            typer.echo(f"{name} answers where its score is at least {threshold:.3f}")


@app.command("evaluate")
def evaluate(
    source: Source,
    train: Annotated[
        float, typer.Option(help="Prompts to learn from: a count, or a share below 1.")
    ] = 0.8,
    splits: Annotated[int, typer.Option(min=1, max=1000, help="Random splits.")] = 5,
    seed: Seed = 0,
    quality: Quality = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Only this policy, beside knn and length; repeatable. All without it."),
    ] = None,
    only: Only = None,
    full: Full = None,
    keep: Keep = 0.95,
    confidence: Confidence = 0.95,
    embedding: EmbeddingFolder = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the report and its charts.")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Show what routing would save, beside what needs no learning and what hindsight would do.

    Example: weightcut router evaluate outcomes.csv --train 1500 --splits 5 --seed 0 --json
    """
    from weightcut.routing.evaluate import BASELINES, Settings, default_policies
    from weightcut.routing.evaluate import evaluate as run_evaluation

    outcomes = _outcomes(source, quality, only, full)
    settings = Settings(train, splits, seed, keep, confidence, _embedding(embedding))
    policies = tuple(dict.fromkeys((*policy, *BASELINES))) if policy else default_policies(outcomes)
    with _progress(json_) as say:
        result = run_evaluation(outcomes, settings, policies, say)
    if out is not None:
        from weightcut.reports.routing import write as write_report

        for path in write_report(result, out):
            errors.print(f"wrote {path}", markup=False, soft_wrap=True)
    if json_:
        print_json(result)
        return
    _warn(outcomes.warnings)
    _show(result)


def _show(result: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    from weightcut.reports.routing import HEADINGS, table_rows

    console = Console(highlight=False)
    shown = RichTable(
        title=f"{result['splits']} splits, {result['train']} prompts learnt from, "
        f"{result['test']} tested",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    for heading in HEADINGS:
        first = heading == HEADINGS[0]
        bounds = 8 if heading == "APGR" else None  # an interval's bound stays in one piece
        shown.add_column(
            heading, justify="left" if first else "right", no_wrap=first, min_width=bounds
        )
    for row in table_rows(result):
        shown.add_row(*row)
    console.print(shown)
    for line in result["says"]:
        console.print(line, markup=False)


def _outcomes(source: Path, quality: str | None, only: list[str] | None, full: str | None) -> Table:
    from weightcut.routing.table import build_table, read_table

    if not source.is_dir():
        return read_table(source, quality or "quality", only or (), full)
    rows, baseline, notes = _run_outcomes(source, quality)
    known = baseline if any(row["variant"] == baseline for row in rows) else None
    numbered = ((f"row {n}", row) for n, row in enumerate(rows, 1))
    found = build_table(numbered, str(source), only=only or (), full=full or known)
    return replace(found, warnings=(*notes, *found.warnings))


def _embedding(folder: Path | None) -> Embedding | None:
    from weightcut.routing.embedding import Embedding

    return None if folder is None else Embedding(folder)


def _run_outcomes(run: Path, quality: str | None) -> Outcomes:
    from weightcut.routing.runs import run_outcomes
    from weightcut.store.run_store import RunStore

    if not run.is_dir():
        raise UsageError("no such folder", place=str(run), cure="name a run folder")
    store = RunStore.open(run)
    try:
        return run_outcomes(store, quality)
    finally:
        store.close()


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float | None], None]]:
    """Show a phrase and a bar on stderr; plain lines where that is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    if quiet:
        yield lambda _phrase, _share: None
        return
    bar = Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with bar:
        task = bar.add_task("starting", total=None)

        def say(phrase: str, share: float | None) -> None:
            total = None if share is None else 1.0
            bar.update(task, description=phrase, total=total, completed=share or 0.0)
            if not errors.is_terminal:
                errors.print(phrase, markup=False, soft_wrap=True)

        yield say


def _warn(warnings: Sequence[str]) -> None:
    for line in warnings:
        errors.print(f"[yellow]warning:[/] {line}", soft_wrap=True)
