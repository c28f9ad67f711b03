"""`weightcut compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli import options
from weightcut.cli.output import duration, errors, print_json, size


def compress(
    model: Annotated[
        str, typer.Argument(help="Alias, folder, GGUF file or hub:org/name@revision.")
    ],
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Steps, joined by '|'.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the result.")],
    seed: Annotated[int, typer.Option(min=0, help="For steps that learn or sample.")] = 0,
    json_: options.Json = False,
) -> None:
    """Compress a model by a recipe and put the result into a folder.

    Example: weightcut compress smollm2-135m --recipe 'prune-depth(0.15) | int8' -o small
    """
    from weightcut.api import compress_model

    said = ""

    def tell(phrase: str, _share: float | None) -> None:
        nonlocal said
        if not json_ and phrase != said:
            said = phrase
            errors.print(f"  {phrase}", markup=False)

    artifact = compress_model(model, recipe, out, seed=seed, progress=tell)
    if json_:
        print_json(artifact.model_dump(mode="json"))
        return
    steps = " | ".join(step.label() for step in artifact.recipe) or "as it is"
    typer.echo(f"{out}: {artifact.format}, {size(artifact.bytes)}, {duration(artifact.seconds)}")
    typer.echo(f"recipe as run: {steps}")
    for name, proof in artifact.proofs.items():
        typer.echo(f"{name} proven: KL {proof.kl:.2g} nats, same best token {proof.top1:.1%}")
