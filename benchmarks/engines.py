"""Engine by precision on a model of random weights: speed, memory, share of the read bandwidth.

    python benchmarks/engines.py                            # llama-1b: about half an hour, 25 GB
    python benchmarks/engines.py --shape llama-360m --only llama_cpp onnxruntime
    python benchmarks/engines.py --model smollm2-135m

Every row is built and timed in processes of its own, one at a time: time to first token of a
prompt of 64 tokens (median of 5), tokens a second for 1, 8 and 32 answers at once (each of 32
tokens, all submitted at once, the quicker of two rounds, prompts included from 8 on), and the
highest resident set while answering. Decoding one sequence reads all weights once for each token;
that many bytes a second, over what a plain product of a matrix and a vector reads here
(`weightcut.hardware.speed`), is the share of the bandwidth. Speed-ups are over the engine's own
16 bit, and over transformers in bf16. Shapes are those of benchmarks/shapes.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shapes import SHAPES, write_shape

ROWS = (
    ("transformers", ""), ("transformers", "torchao-int8"), ("transformers", "torchao-int4"),
    ("transformers", "bnb-nf4"), ("openvino", ""), ("openvino", "int8"),
    ("openvino", "int4(awq=false, scale_estimation=false)"), ("openvino", "nf4"),
    ("openvino(precision=f32)", "int8"),
    ("openvino(precision=f32)", "int4(awq=false, scale_estimation=false)"),
    ("llama_cpp", ""), ("llama_cpp", "gguf-q8_0"), ("llama_cpp", "gguf-q5_k_m"),
    ("llama_cpp", "gguf-q4_k_m"), ("llama_cpp", "gguf-q4_0"), ("llama_cpp", "gguf-iq4_xs"),
    ("onnxruntime", ""), ("onnxruntime", "onnx-int8"), ("onnxruntime", "onnx-int4"),
    ("onnxruntime", "onnx-int4(symmetric=true)"),
)  # fmt: skip
BATCHES = (1, 8, 32)
PROMPT, NEW = 64, 32
HEAD = (
    "engine", "recipe", "GB", "TTFT, ms", *(f"tokens/s at {n}" for n in BATCHES), "peak RSS, GB",
    "of the bandwidth", "over own 16 bit", "over transformers bf16", "build, s",
)  # fmt: skip


def main() -> int:
    """Measure each row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="llama-1b", choices=SHAPES)
    parser.add_argument("--model", help="a model in place of a shape")
    parser.add_argument("--only", nargs="+", default=[], help="engines; all by default")
    parser.add_argument("--recipes", nargs="+", help="recipes in place of an engine's own")
    parser.add_argument("--folder", type=Path, help="where models are made and kept; else deleted")
    parser.add_argument("--json", type=Path, help="add the rows to this file, one a line")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(STAGES[chosen.one[0]](*chosen.one[1:])))
        return 0
    with TemporaryDirectory() as temporary:
        return table(chosen, chosen.folder or Path(temporary))


def table(chosen: argparse.Namespace, folder: Path) -> int:
    """Print a row as soon as it is measured; return 1 where one failed."""
    model = chosen.model or folder / chosen.shape
    if not chosen.model and not Path(model).is_dir():
        write_shape(chosen.shape, Path(model))
    read = bandwidth()
    name = chosen.model or chosen.shape
    print(f"# {datetime.now(UTC):%Y-%m-%d}, {name}, {about()}, reads {read / 1e9:.0f} GB/s")
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
    rows: list[dict[str, Any]] = []
    for engine, recipe in wanted(chosen):
        row = {"model": name, "engine": engine, "recipe": recipe, "read": read}
        row |= measured(str(model), engine, recipe, str(folder / "artifacts"))
        rows.append(row)
        print(line(row, rows), flush=True)
        if chosen.json:
            with chosen.json.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return 1 if any("error" in row for row in rows) else 0


def wanted(chosen: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the rows to measure."""
    rows = [row for row in ROWS if not chosen.only or row[0].split("(")[0] in chosen.only]
    if chosen.recipes:
        rows = [(engine, r) for engine in dict(rows) for r in chosen.recipes]
    return rows


def measured(model: str, engine: str, recipe: str, artifacts: str) -> dict[str, Any]:
    """Build and time one row, each in a process of its own."""
    found: dict[str, Any] = {}
    for stage in STAGES:
        words = [sys.executable, __file__, "--one", stage, model, engine, recipe, artifacts]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
            return found | {"error": said[-1][:200]}
        found |= json.loads(done.stdout.splitlines()[-1])
    return found


def build(model: str, engine: str, recipe: str, artifacts: str) -> dict[str, Any]:
    """Make the artifact, or find it made."""
    start = time.perf_counter()
    artifact = _artifact(model, engine, recipe, artifacts)
    return {"build_s": time.perf_counter() - start, "bytes": artifact.bytes}


def answer(model: str, engine: str, recipe: str, artifacts: str) -> dict[str, Any]:
    """Open the artifact and time it."""
    from weightcut.profiling.machine import others_load, peak_rss_bytes
    from weightcut.records import Request
    from weightcut.study.build import open_engine

    artifact = _artifact(model, engine, recipe, artifacts)

    def requests(count: int, new: int = NEW) -> list[Any]:
        return [
            Request(
                id=str(n),
                prompt="",
                prompt_ids=tuple(100 + (n * 131 + at * 7) % 9_000 for at in range(PROMPT)),
                max_new_tokens=new,
                ignore_stop=True,
            )
            for n in range(count)
        ]

    with open_engine(_named(engine)).open(artifact) as session:
        list(session.generate(requests(max(BATCHES), 2)))  # room for all, once
        first, each = [], []
        for request in requests(5):
            (one,) = session.generate([request])
            first.append(one.token_times[0])
            each.append((NEW - 1) / (one.token_times[-1] - one.token_times[0]))
        speeds = {"1": statistics.median(each)}
        for size in BATCHES[1:]:
            rounds = []
            for _ in range(2):
                done = list(session.generate(requests(size)))
                rounds.append(size * NEW / max(one.token_times[-1] for one in done))
            speeds[str(size)] = max(rounds)
        return {
            "ttft_s": statistics.median(first),
            "tokens_per_s": speeds,
            "peak_rss": peak_rss_bytes(),
            "read_per_token": read_per_token(artifact),
            "others": others_load(),
            "engine_says": session.describe(),
        }


STAGES = {"build": build, "answer": answer}


def read_per_token(artifact: Any) -> float:
    """Return the bytes of weights that one decoding step reads: all but an embedding of its own."""
    folder = artifact.path
    config = json.loads((folder / "config.json").read_text())
    rows = config["vocab_size"] * (config.get("hidden_size") or config.get("n_embd"))
    if artifact.format == "gguf":
        from weightcut.models.gguf_file import read_gguf

        held = read_gguf(folder / "model.gguf").tensors
        skipped = held["token_embd.weight"].size if "output.weight" in held else 0
        return float(sum(one.size for one in held.values()) - skipped)
    ending = {"openvino": "openvino_model.bin", "onnx": "model.onnx.data"}.get(artifact.format, "")
    files = [f for f in folder.iterdir() if f.name == ending or f.suffix in (".safetensors",)]
    files += [folder / "pytorch_model.bin"] if artifact.format == "torch" else []
    stored = float(sum(file.stat().st_size for file in files))
    tied = config.get("tie_word_embeddings", config["model_type"] == "gpt2")
    if tied and artifact.format != "onnx":
        return stored
    quantized = artifact.recipe and artifact.recipe[-1].kind in ("int8", "int4", "nf4", "mxfp4")
    width = {"openvino": 1.0 if quantized else 2.0}.get(artifact.format, 2.0)
    if artifact.format == "onnx":
        width = 1.1 if artifact.recipe[-1].kind.startswith("onnx-int") else 4.0
        if tied and width == 4.0:
            return stored  # stored once, read as the head
    return stored - rows * width


def bandwidth() -> float:
    """Return the bytes a second that a matrix times a vector reads, measured now."""
    words = [sys.executable, "-P", "-m", "weightcut.hardware.speed", str(time.time())]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["read"])


def about() -> str:
    """Return what the machine is."""
    from weightcut.hardware.probe import machine

    here = machine()
    return f"{here['cpu']}, {here['cores']} cores, {here['memory_bytes'] / 2**30:.0f} GiB"


def line(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return a row of the table."""
    recipe = f"`{row['recipe']}`" if row["recipe"] else "16 bit"
    names = f"| {row['engine']} | {recipe} |"
    if "error" in row:
        return f"{names} {row['error']} |" + " |" * (len(HEAD) - 3)
    speed = row["tokens_per_s"]
    plain = [r for r in rows if not r["recipe"] and "error" not in r]
    kind = row["engine"].split("(")[0]
    own = next((r for r in plain if r["engine"] == kind), None)
    reference = next((r for r in plain if r["engine"] == "transformers"), None)
    ratios = [f"{speed['1'] / r['tokens_per_s']['1']:.2f}x" if r else "" for r in (own, reference)]
    share = row["read_per_token"] * speed["1"] / row["read"]
    cells = [
        f"{row['bytes'] / 1e9:.2f}",
        f"{1000 * row['ttft_s']:.0f}",
        *(f"{speed[str(size)]:.1f}" for size in BATCHES),
        f"{row['peak_rss'] / 1e9:.2f}",
        f"{share:.0%}",
        *ratios,
        f"{row['build_s']:.0f}",
    ]
    return f"{names} " + " | ".join(cells) + " |"


def _artifact(model: str, engine: str, recipe: str, artifacts: str) -> Any:
    from weightcut.compression.recipe import parse_recipe
    from weightcut.models.resolve import resolve
    from weightcut.study.build import build_artifact, fitted

    checkpoint = resolve(model)
    steps = fitted(parse_recipe(recipe), checkpoint.format, _named(engine))
    return build_artifact(checkpoint, steps, Path(artifacts))


def _named(engine: str) -> Any:
    from weightcut.compression.recipe import parse_call
    from weightcut.records import Named

    kind, settings = parse_call(engine)
    return Named(kind=kind, settings=settings)


if __name__ == "__main__":
    sys.exit(main())
