"""`weightcut profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightcut.cli import options
from weightcut.cli.evaluate import measure_single
from weightcut.cli.output import print_json, size
from weightcut.errors import WeightcutError


def profile(
    artifact: Annotated[str, typer.Argument(help="A compressed model's folder, or any model.")],
    engine: options.Engine = "transformers",
    concurrency: Annotated[
        str, typer.Option(help="Numbers of concurrent sequences, separated by commas.")
    ] = "1,8,32",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts timed one at a time.")] = 20,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens of every timed answer.")] = 48,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the run, with raw readings, here.")
    ] = None,
    json_: options.Json = False,
) -> None:
    """Measure latency, throughput and memory of one model or artifact as it is.

    Example: weightcut profile small --engine openvino --concurrency 1,8
    """
    from weightcut.analysis.speed import timing_doubts
    from weightcut.api import single_study

    settings = {
        "concurrency": concurrency.split(","),
        "prompts": prompts,
        "new_tokens": new_tokens,
    }
    measured = measure_single(single_study(artifact, engine, profile=settings), out, json_).profile
    if measured is None:
        raise WeightcutError("nothing was measured", place=artifact)
    if json_:
        print_json({"artifact": artifact, "engine": engine, **measured.model_dump(mode="json")})
        return
    for name, heading in (
        ("ttft_ms", "time to first token"),
        ("tpot_ms", "time per output token"),
        ("latency_ms", f"answer of {measured.new_tokens or new_tokens} tokens"),
    ):
        p = getattr(measured, name)
        typer.echo(f"{heading:24} p50 {p.p50:8.1f} ms  p90 {p.p90:8.1f} ms  p99 {p.p99:8.1f} ms")
    for level, rate in measured.tokens_per_s.items():
        typer.echo(f"{level:>3} at once              {rate:12.1f} tokens/s")
    for doubt in timing_doubts(measured):
        typer.echo(f"not to be relied on: {doubt}", err=True)
    if measured.peak_rss_bytes is not None:
        typer.echo(f"peak resident memory     {size(measured.peak_rss_bytes)}")
