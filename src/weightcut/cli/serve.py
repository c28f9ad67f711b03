"""`weightcut serve`, `weightcut keys add|list|revoke` and `weightcut router recalibrate`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json

KEYS = Path("weightcut-keys.json")
keys_app = typer.Typer(help="The API keys of `weightcut serve`.", no_args_is_help=True)
KeyFile = Annotated[Path, typer.Option("--file", "-f", help="The key file.")]
KeyName = Annotated[str, typer.Argument(help="Whose key it is; shown in the log.")]


def serve(
    router: Annotated[
        Path, typer.Argument(help="A router folder, as `weightcut router fit` writes it.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to bind; beyond loopback with --keys only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8080,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="YAML: upstreams, limits, time-outs; docs/serving.md."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder whose variants answer; default: the one it was fitted on."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="Key file: requests need one of its keys.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read router, config and keys, say what they mean, end.")
    ] = False,
    json_: Json = False,
) -> None:
    """Answer prompts over HTTP, each with the lightest variant that will do.

    OpenAI's chat and completion API and POST /generate; SIGTERM finishes what was accepted.
    Example: weightcut serve router --config serve.yaml --port 8080
    """
    from weightcut.errors import UsageError
    from weightcut.routing.server import logs
    from weightcut.routing.server.keys import Keys, read_keys
    from weightcut.routing.server.lifecycle import bind, serve
    from weightcut.routing.server.setup import open_service

    known = None
    if keys is not None:
        known = Keys(read_keys(keys))
        if not len(known):
            cure = f"weightcut keys add NAME --file {keys}"
            raise UsageError("there are no keys in it", place=str(keys), cure=cure)
    service = open_service(router, config, run)
    if check:
        if json_:
            print_json(service.describe())
        else:
            for line in service.lines():
                typer.echo(line)
        return
    bound = bind(host, port, known)
    logs.set_up()
    for line in service.lines():
        errors.print(line, markup=False, soft_wrap=True)

    def started(url: str) -> None:
        if json_:
            print_json({"url": url, **service.describe()})
        else:
            errors.print(f"serving on {url}", markup=False, soft_wrap=True)

    with contextlib.closing(bound):
        serve(service, bound, keys=known, started=started)


def recalibrate(
    router: Annotated[Path, typer.Argument(help="The router folder that is served.")],
    pairs: Annotated[
        Path, typer.Option(help="The server's drift.folder, or its pairs.jsonl.")
    ] = Path("drift"),
    keep: Annotated[
        float | None, typer.Option(help="Share of quality to keep; default: the router's promise.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Confidence of that; default: the router's promise.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the pairs.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the diff here, not to stdout.")
    ] = None,
    json_: Json = False,
) -> None:
    """Propose a threshold from the server's shadow sample, as a diff; nothing changes by itself.

    Example: weightcut router recalibrate my-router --pairs drift -o threshold.diff;
    then, if you agree: patch my-router/router.json threshold.diff
    """
    from weightcut.errors import UsageError
    from weightcut.files import write_whole
    from weightcut.routing.server.recalibrate import propose

    for name, value in (("--keep", keep), ("--confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{value:g} is not between 0 and 1", place=name)
    found = propose(router, pairs, keep=keep, confidence=confidence, seed=seed)
    if out is not None:
        write_whole(out, found.diff.encode())
    if json_:
        print_json(found.model_dump(mode="json"))
        return
    errors.print(found.says, markup=False, soft_wrap=True)
    judged = f"{found.pairs} judged pairs, {found.unjudged} that could not be judged"
    if found.others:
        judged += f", {found.others} of another router left out"
    errors.print(judged, markup=False, soft_wrap=True)
    if out is None:
        typer.echo(found.diff, nl=False)
    else:
        command = f"patch {router / 'router.json'} {out}"
        errors.print(f"to accept it: {command}", markup=False, soft_wrap=True)


@keys_app.command("add")
def add(name: KeyName, file: KeyFile = KEYS, json_: Json = False) -> None:
    """Make a key and print it, once; the file keeps its hash alone.

    Example: weightcut keys add alice
    """
    from weightcut.routing.server.keys import add_key

    key = add_key(file, name)
    if json_:
        print_json({"name": name, "key": key, "file": str(file)})
        return
    typer.echo(key)
    errors.print(f"kept as a hash in {file}: write it down now", markup=False, soft_wrap=True)


@keys_app.command("list")
def list_(file: KeyFile = KEYS, json_: Json = False) -> None:
    """List the names of the keys.

    Example: weightcut keys list
    """
    from weightcut.routing.server.keys import read_keys

    found = read_keys(file)
    if json_:
        print_json([{"name": key.name, "created": key.created} for key in found])
        return
    for key in found:
        typer.echo(f"{key.name}  {key.created}")


@keys_app.command("revoke")
def revoke(name: KeyName, file: KeyFile = KEYS, json_: Json = False) -> None:
    """Forget a key; servers that run must be started anew.

    Example: weightcut keys revoke alice
    """
    from weightcut.routing.server.keys import revoke_key

    revoke_key(file, name)
    if json_:
        print_json({"name": name, "revoked": True})
    else:
        typer.echo(f"{name}: revoked")
