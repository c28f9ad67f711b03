"""Every compression method on the bundled model: size, perplexity, what making it costs.

Usage: python benchmarks/methods.py [RECIPE ...] [--windows 8] [--length 256] [--json FILE]

Each recipe runs in a process of its own: build, open with the transformers engine, perplexity over
4 windows of 256 tokens of the evaluation text, then 32 tokens decoded for one prompt. CPU seconds
rather than wall time, so that other work on the machine changes little. `--windows` and `--length`
are those of the calibration text.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MODEL = "smollm2-135m"
CALIBRATED = ("gptq", "awq", "smoothquant", "wanda", "sparsegpt")
RECIPES = (
    "", "torchao-int8", "torchao-int8-dynamic", "bnb-int8", "smoothquant", "rtn(bits=8)",
    "torchao-int4", "torchao-int4(scales=minmax)", "bnb-nf4", "bnb-fp4", "rtn", "gptq", "awq",
    "magnitude", "wanda", "sparsegpt", "magnitude(pattern=2:4)", "sparsegpt(pattern=2:4)",
)  # fmt: skip
HEAD = ("recipe", "MB", "bits/weight", "perplexity", "make, CPU s", "peak GB", "32 tokens, CPU s")


def main() -> None:
    """Measure each recipe and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--json", type=Path, help="add the rows to this file, one a line")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.recipes[0], chosen.windows, chosen.length)))
        return
    print(f"# {datetime.now(UTC):%Y-%m-%d}, {MODEL}, transformers engine, bfloat16")
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    for recipe in chosen.recipes:
        row = elsewhere(recipe, chosen.windows, chosen.length)
        print(line(row), flush=True)
        if chosen.json:
            with chosen.json.open("a") as file:
                file.write(json.dumps(row) + "\n")


def elsewhere(recipe: str, windows: int, length: int) -> dict[str, Any]:
    """Measure one recipe in a process of its own."""
    words = [recipe, "--one", "--windows", str(windows), "--length", str(length)]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"recipe": recipe, "error": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout))


def measure(recipe: str, windows: int, length: int) -> dict[str, Any]:
    """Build and measure one recipe here."""
    from weightcut.compression.files import bytes_by_part
    from weightcut.compression.recipe import parse_recipe
    from weightcut.data.blocks import token_blocks
    from weightcut.data.corpus import documents
    from weightcut.engines.transformers import TransformersEngine
    from weightcut.models.resolve import resolve
    from weightcut.models.tokenizer import load_tokenizer
    from weightcut.records import Request
    from weightcut.study.build import build_artifact

    checkpoint = resolve(MODEL)
    steps = parse_recipe(recipe)
    if steps and steps[-1].kind in CALIBRATED:
        text = {"windows": windows, "length": length}
        steps = (*steps[:-1], steps[-1].model_copy(update={"settings": steps[-1].settings | text}))
    tokenizer = load_tokenizer(checkpoint.path)
    texts = (document.text for document in documents("evaluation"))
    blocks = token_blocks(texts, tokenizer, 4, 256)
    with TemporaryDirectory() as folder:
        start = time.process_time()
        artifact = build_artifact(checkpoint, steps, Path(folder))
        made = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        with TransformersEngine().open(artifact) as session:
            chosen = [
                float(window.values[index, token])
                for window, row in zip(session.token_logprobs(blocks), blocks.ids, strict=True)
                for index, token in enumerate(row[1:])
            ]
            ids = tuple(int(token) for token in blocks.ids[0][:64])
            request = Request(id="r", prompt="", prompt_ids=ids, max_new_tokens=32)
            list(session.generate([request]))  # the first one warms up
            start = time.process_time()
            list(session.generate([request]))
            decoded = time.process_time() - start
    whole = bytes_by_part(checkpoint.path)  # in 16 bit
    kind = steps[-1].kind if steps else ""
    parts = artifact.details.get(kind, {}).get("bytes_by_part")
    return {
        "recipe": recipe or "as it is",
        "megabytes": artifact.bytes / 1e6,
        "bits_per_layer_weight": parts and parts["layers"] * 16 / whole["layers"],
        "perplexity": math.exp(-sum(chosen) / len(chosen)),
        "make_cpu_s": made if steps else 0.0,
        "peak_gb": peak / 1e9 if steps else 0.0,
        "decode_cpu_s": decoded,
    }


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    if "error" in row:
        return f"| {row['recipe']} | {row['error']} |" + " |" * (len(HEAD) - 2)
    bits = row["bits_per_layer_weight"] or 16.0
    return (
        f"| `{row['recipe']}` | {row['megabytes']:.0f} | {bits:.2f} | {row['perplexity']:.2f} | "
        f"{row['make_cpu_s']:.0f} | {row['peak_gb']:.1f} | {row['decode_cpu_s']:.1f} |"
    )


if __name__ == "__main__":
    main()
