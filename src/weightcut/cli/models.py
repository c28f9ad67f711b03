"""`weightcut models list|pull|show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from weightcut.cli.options import Json
from weightcut.cli.output import errors, print_json, size
from weightcut.records import Checkpoint

app = typer.Typer(help="The models that a study can name.", no_args_is_help=True)
Reference = Annotated[
    str, typer.Argument(help="Alias, folder, GGUF file or hub:org/name@revision.")
]


@app.command("list")
def list_(json_: Json = False) -> None:
    """List the models that have a short name, and whether they are in the cache.

    Example: weightcut models list
    """
    from weightcut.models.bundled import BUNDLED
    from weightcut.models.resolve import cached

    found = {name: cached(name) for name in BUNDLED}
    if json_:
        print_json([_row(name, checkpoint) for name, checkpoint in found.items()])
        return
    for name, checkpoint in found.items():
        model = BUNDLED[name]
        state = "in the cache" if checkpoint else f"{size(model.source.bytes)} to pull"
        typer.echo(f"{name}: {model.title} ({model.license}; {state})")
        for note in model.notes:
            typer.echo(f"  {note}")


@app.command()
def pull(reference: Reference, json_: Json = False) -> None:
    """Fetch a model into the cache, check it, and print where it is.

    Example: weightcut models pull smollm2-135m
    """
    _tell(_resolve(reference, json_), json_)


@app.command()
def show(reference: Reference, json_: Json = False) -> None:
    """Show what a model is: digest, origin, size, tokenizer, and what to know of its weights.

    Fetches the model first if it is not here. Example: weightcut models show ./my-model
    """
    from weightcut.models.folder import read_json
    from weightcut.models.tokenizer import load_tokenizer

    checkpoint = _resolve(reference, json_)
    tokenizer = load_tokenizer(checkpoint.path)
    more: dict[str, Any] = {
        "vocabulary": tokenizer.vocab_size,
        "chat_template": tokenizer.has_chat_template,
        "stop_ids": list(tokenizer.stop_ids),
    }
    if checkpoint.format == "hf":
        config = read_json(checkpoint.path / "config.json")
        more["model_type"] = config["model_type"]
        more["layers"] = config.get("num_hidden_layers", config.get("n_layer"))
        more["hidden_size"] = config.get("hidden_size", config.get("n_embd"))
        more["tied_embeddings"] = config.get("tie_word_embeddings")
    _tell(checkpoint, json_, more)


def _row(name: str, checkpoint: Checkpoint | None) -> dict[str, Any]:
    from weightcut.models.bundled import BUNDLED

    model = BUNDLED[name]
    return {
        "name": name,
        "title": model.title,
        "license": model.license,
        "download_bytes": model.source.bytes,
        "cached": checkpoint is not None,
        "path": str(checkpoint.path) if checkpoint else None,
        "notes": list(model.notes),
    }


def _resolve(reference: str, quiet: bool) -> Checkpoint:
    from weightcut.models.resolve import resolve

    def tell(phrase: str, _share: float | None) -> None:
        if not quiet:
            errors.print(phrase, markup=False, soft_wrap=True)

    return resolve(reference, tell)


def _tell(checkpoint: Checkpoint, json_: bool, more: dict[str, Any] | None = None) -> None:
    more = more or {}
    if json_:
        print_json({**checkpoint.model_dump(mode="json"), **more})
        return
    typer.echo(f"{checkpoint.reference}: {checkpoint.path}")
    weights = f", {checkpoint.parameters / 1e6:,.1f} M weights" if checkpoint.parameters else ""
    typer.echo(f"  {checkpoint.format}, {size(checkpoint.bytes)}{weights}")
    typer.echo(f"  from {checkpoint.origin}; digest {checkpoint.digest[:16]}")
    for key, value in more.items():
        typer.echo(f"  {key.replace('_', ' ')}: {value}")
    for note in checkpoint.notes:
        typer.echo(f"  note: {note}")
