"""Every compression method on the bundled model: size, loss of quality, what making it costs.

    python benchmarks/methods.py [RECIPE ...] [--windows 8] [--length 256] [--json FILE] [--write]

Each recipe runs in a process of its own: build, open with an engine that opens the result,
perplexity and KL divergence from the uncompressed model over 4 windows of 256 tokens of the
evaluation text, then 32 tokens decoded for one prompt, the fastest of five times. Times are CPU
seconds, which other work on the machine changes little; the last column compares with 16 bit on
the same engine. `--windows` and `--length` are those of the calibration text.
`--write` puts the table into docs/methods.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from weightcut import registry
from weightcut.compression import recipe as recipes
from weightcut.hardware import probe, verdicts
from weightcut.records import Artifact, Named, Step

MODEL = "smollm2-135m"
ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- methods: [^>]*-->\n).*?(<!-- /methods -->)", re.DOTALL)
REFERENCE = "reference.npz"
MORE = ("rtn(bits=8)", "int4(awq=false,scale_estimation=false)", "magnitude(pattern=2:4)")
HEAD = ("recipe", "engine", "MB", "perplexity", "KL, nats", "same best token", "make, CPU s",
        "peak GB", "32 tokens, CPU s", "against 16 bit")  # fmt: skip


def main() -> None:
    """Measure each recipe and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--json", type=Path, help="add the rows to this file, one a line")
    parser.add_argument("--write", action="store_true", help="put the table into docs/methods.md")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        text, folder = chosen.one
        print(json.dumps(measure(text, Path(folder), chosen.windows, chosen.length)))
        return
    here, rows = probe.machine(), []
    head = [
        f"{datetime.now(UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores, {MODEL}; calibration "
        f"on {chosen.windows} windows of {chosen.length} tokens where a method asks for text.\n",
        "| " + " | ".join(HEAD) + " |",
        "|---|---|" + "---:|" * (len(HEAD) - 2),
    ]
    print("\n".join(head), flush=True)
    with TemporaryDirectory() as folder:
        for text in dict.fromkeys(["", *(chosen.recipes or everything())]):
            row = elsewhere(text, Path(folder), chosen.windows, chosen.length)
            rows.append(row)
            print(line(row, rows), flush=True)
            if chosen.json:
                with chosen.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    if chosen.write:
        lines = "\n".join([*head, *(line(row, rows) for row in rows), ""])
        page = ROOT / "docs" / "methods.md"
        page.write_text(MARKS.sub(lambda m: m[1] + lines + m[2], page.read_text()))


def everything() -> Iterator[str]:
    """Yield every method that runs here and does not train, conversions first."""
    here = verdicts.devices()
    names = [n for n in registry.names("method") if n != "scripted-shrink"]
    for name in sorted(names, key=lambda n: not recipes.build(Step(kind=n)).exact):
        method = recipes.build(Step(kind=name))
        judged = verdicts.best(verdicts.part_of("method", method), here)
        if not method.trains and judged.verdict != "not-here":
            yield name
            yield from (more for more in MORE if more.partition("(")[0] == name)


def elsewhere(text: str, folder: Path, windows: int, length: int) -> dict[str, Any]:
    """Measure one recipe in a process of its own; what goes wrong is told in the table."""
    words = ["--one", text, str(folder), "--windows", str(windows), "--length", str(length)]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"recipe": text, "error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(text: str, folder: Path, windows: int, length: int) -> dict[str, Any]:
    """Build and measure one recipe here; the model as it is leaves what the others refer to."""
    from weightcut.models.resolve import resolve
    from weightcut.profiling.machine import peak_rss_bytes
    from weightcut.study.build import build_artifact, open_engine

    checkpoint = resolve(MODEL)
    steps = [_with_text(step, windows, length) for step in recipes.parse_recipe(text)]
    named = _engine_of(recipes.build(steps[-1]).produces if steps else checkpoint.format)
    engine = open_engine(named)
    fitting = recipes.fit(steps, checkpoint.format, engine.accepts)
    start = time.process_time()
    artifact = build_artifact(checkpoint, fitting, folder)
    made, peak = time.process_time() - start, peak_rss_bytes()
    return {
        "recipe": text,
        "engine": named.kind,
        "bytes": artifact.bytes,
        **_quality(engine, artifact, folder / REFERENCE, first=not text),
        "make_cpu_s": made if steps else 0.0,
        "peak": peak if steps else 0,
        "plain": all(recipes.build(step).exact for step in steps),
    }


def _quality(engine: Any, artifact: Artifact, reference: Path, first: bool) -> dict[str, float]:
    import numpy as np

    from weightcut.data.blocks import token_blocks
    from weightcut.data.corpus import documents
    from weightcut.metrics.likelihood import TopK, top_k, window_scores
    from weightcut.models.resolve import resolve
    from weightcut.models.tokenizer import load_tokenizer
    from weightcut.records import Request

    tokenizer = load_tokenizer(resolve(MODEL).path)
    texts = (document.text for document in documents("evaluation"))
    blocks = token_blocks(texts, tokenizer, 4, 256)
    kept: dict[str, Any] = {} if first else dict(np.load(reference))
    sums: dict[str, float] = {}
    with engine.open(artifact) as session:
        for index, (window, row) in enumerate(
            zip(session.token_logprobs(blocks), blocks.ids, strict=True)
        ):
            if first:
                best = top_k(window.values, 1024)
                kept |= {f"ids{index}": best.ids, f"logp{index}": best.logp}
            other = TopK(ids=kept[f"ids{index}"], logp=kept[f"logp{index}"])
            for name, value in window_scores(window.values, row, other).items():
                sums[name] = sums.get(name, 0.0) + float(value)
        ids = tuple(int(token) for token in blocks.ids[0][:64])
        request = Request(id="r", prompt="", prompt_ids=ids, max_new_tokens=32, ignore_stop=True)
        list(session.generate([request]))  # the first one warms up
        decoded = min(_cpu_seconds(session, request) for _ in range(5))
    if first:
        np.savez(reference, **kept)
    count = sums["tokens"]
    return {
        "perplexity": math.exp(sums["nll"] / count),
        "kl": sums["kl"] / count,
        "agree": sums["agree"] / count,
        "decode_cpu_s": decoded,
    }


def _cpu_seconds(session: Any, request: Any) -> float:
    start = time.process_time()
    list(session.generate([request]))
    return time.process_time() - start


def _with_text(step: Step, windows: int, length: int) -> Step:
    fields = registry.load("method", step.kind).model_fields
    if not recipes.build(step).needs_calibration or "windows" not in fields:
        return step
    return recipes.step(step.kind, {**step.settings, "windows": windows, "length": length})


def _engine_of(made: str) -> Named:
    """Return the engine that opens what a method writes and runs on this machine."""
    for name in registry.names("engine"):
        model = registry.load("engine", name)
        part = verdicts.part_of("engine", model())
        here = verdicts.best(part, verdicts.devices()).verdict != "not-here"
        if here and made in model.accepts:
            return Named(kind=name)
    raise SystemExit(f"no engine opens {made}")


def line(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return a row of the table."""
    name = f"`{row['recipe']}`" if row["recipe"] else "as it is"
    if "error" in row:
        return f"| {name} | {row['error']} |" + " |" * (len(HEAD) - 2)
    plain = [r for r in rows if r.get("plain") and r.get("engine") == row["engine"]]
    ratio = f"{plain[0]['decode_cpu_s'] / row['decode_cpu_s']:.2f}x" if plain else ""
    making = (f"{row['make_cpu_s']:.0f}", f"{row['peak'] / 1e9:.1f}") if row["peak"] else ("", "")
    cells = (
        name, row["engine"], f"{row['bytes'] / 1e6:.0f}", f"{row['perplexity']:.2f}",
        f"{row['kl']:.4f}", f"{row['agree']:.1%}", *making, f"{row['decode_cpu_s']:.2f}", ratio,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
