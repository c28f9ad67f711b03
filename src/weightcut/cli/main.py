"""The command line: one thin file per command, mounted here."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from weightcut.cli import (
    aggregate,
    compare,
    compress,
    dashboard,
    doctor,
    evaluate,
    export,
    methods,
    models,
    plan,
    profile,
    report,
    router,
    run,
    sandbox,
    score,
    serve,
    tune,
)
from weightcut.cli.output import complain
from weightcut.errors import UsageError, WeightcutError, full_disk, sealed_home
from weightcut.settings import home

app = typer.Typer(
    name="weightcut",
    help="Cut the weight of a code LLM and keep its punch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"weightcut {version('weightcut')}")
        raise typer.Exit


@app.callback()
def _all(
    _version_asked: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version, end."
        ),
    ] = False,
) -> None:
    """Cut the weight of a code LLM and keep its punch."""


app.add_typer(models.app, name="models")
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("report")(report.report)
app.command("aggregate")(aggregate.aggregate)
app.command("export")(export.export)
app.command("compress")(compress.compress)
app.command("methods")(methods.methods)
app.command("doctor")(doctor.doctor)
app.command("tune")(tune.tune)
app.command("evaluate")(evaluate.evaluate)
app.command("profile")(profile.profile)
app.command("compare")(compare.compare)
app.add_typer(score.app, name="score")
app.add_typer(sandbox.app, name="sandbox")
router.app.command("recalibrate")(serve.recalibrate)
app.add_typer(router.app, name="router")
app.command("serve")(serve.serve)
app.command("dashboard")(dashboard.dashboard)
app.add_typer(serve.keys_app, name="keys")


def main() -> None:
    """Run a command; exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        app()
    except UsageError as error:
        complain(error)
        sys.exit(2)
    except WeightcutError as error:
        complain(error)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); python would complain at exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        plain = full_disk(error) or sealed_home(error, home())
        if plain is None:
            raise
        complain(plain)
        sys.exit(1)
