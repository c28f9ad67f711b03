"""How well `weightcut plan` predicts: cells predicted against measured, and the fit of its costs.

    python benchmarks/preflight.py all FOLDER [RUN ...]       # on a quiet machine: all of it
    python benchmarks/preflight.py measure NAME --out RUN     # one study of those made for this
    python benchmarks/preflight.py table RUN ... [--held-out RUN ...]
    python benchmarks/preflight.py fit RUN ... [--loaded RUN ...]

`fit` writes `src/weightcut/study/costs.yaml`: for each engine and method how many times the
amounts of work (`study/work.py`) a cell took, by non-negative least squares on relative errors.
`table` prints each cell with the errors, the runs that were fitted apart from those held out. Runs
under --loaded were made on a machine that did other work: their memory counts; their time is CPU
seconds times what a cell of that kind takes of the clock for each CPU second in the others.

NAME is a shape of benchmarks/shapes.py (random weights, written to RUN/model, which the table
reads again), or `methods` for every method on the bundled model. `all` measures what is not
measured yet in FOLDER (12 GB), fits on RUN and on FITTED, and writes docs/preflight.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import yaml
from scipy.optimize import nnls
from shapes import SHAPES, write_shape

from weightcut import registry, settings
from weightcut.hardware import probe, verdicts
from weightcut.hardware.speed import Speed
from weightcut.models.resolve import resolve
from weightcut.models.shape import shape_of
from weightcut.records import CellKey
from weightcut.store.run_store import RunStore
from weightcut.study import costs
from weightcut.study.build import artifact_key, fitted
from weightcut.study.predict import Prediction, Predictor, Work

COSTS = Path(costs.__file__).with_name("costs.yaml")
ROOT = Path(__file__).parent.parent
MARKS = re.compile(r"(<!-- preflight: [^>]*-->\n).*?(<!-- /preflight -->)", re.DOTALL)
SHORTEST = 1.0  # seconds; a build that found its work done says nothing
T, V = "transformers", "openvino"
PLAIN = "int4(awq=false,scale_estimation=false)"
STUDIES: dict[str, dict[str, tuple[str, str]]] = {
    "llama-1b": {
        "full": (T, ""), "ov-16bit": (V, ""), "ov-int8": (V, "int8"), "nf4": (T, "bnb-nf4"),
        "gptq": (T, "gptq(windows=8,length=128)"), "rtn": (T, "rtn"),
    },
    "qwen2-0.5b": {
        "full": (T, ""), "ov-16bit": (V, ""), "ov-int8": (V, "int8"), "ov-int4": (V, PLAIN),
        "nf4": (T, "bnb-nf4"), "gptq": (T, "gptq(windows=8,length=128)"),
    },
    "gpt2-124m": {
        "full": (T, ""), "ov-16bit": (V, ""), "ov-int8": (V, "int8"), "int8": (T, "bnb-int8"),
    },
    "llama-360m": {
        "full": (T, ""), "ov-int8": (V, "int8"), "ov-int4-data": (V, "int4(windows=4)"),
        "awq": (T, "awq(windows=8,length=128)"), "rtn8": (T, "rtn(bits=8)"),
        "torchao-int8": (T, "torchao-int8"),
    },
    "methods": {
        "full": (T, ""), "torchao-int8": (T, "torchao-int8"),
        "torchao-int8-dynamic": (T, "torchao-int8-dynamic"), "torchao-int4": (T, "torchao-int4"),
        "bnb-int8": (T, "bnb-int8"), "bnb-fp4": (T, "bnb-fp4"),
        "smoothquant": (T, "smoothquant(windows=8,length=256)"), "rtn8": (T, "rtn(bits=8)"),
        "rtn": (T, "rtn"), "gptq": (T, "gptq(windows=8,length=256)"),
        "awq": (T, "awq(windows=8,length=256)"), "magnitude": (T, "magnitude"),
        "wanda": (T, "wanda(windows=8,length=256)"),
        "sparsegpt": (T, "sparsegpt(windows=8,length=256)"), "ov-int4-plain": (V, PLAIN),
        "prune-depth": (T, "prune-depth"), "prune-width": (T, "prune-width"),
    },
}  # fmt: skip


# What is expected before anything is measured: a fit on few sizes of models leaves shares that it
# cannot tell apart near these. Bytes or seconds times an amount; see `study/work.py`.
EXPECTED: dict[tuple[str, str], dict[str, float]] = {
    ("engine", "memory"): {
        "base": 4e8, "stored": 0.2, "resident": 1.0, "buffers": 0.5, "blocks": 0.5,
        "scoring": 1.5e8, "batch": 4.0, "windows": 3.0, "activations": 8.0,
    },
    ("engine transformers", "memory"): {
        "base": 6e8, "stored": 0.1, "resident": 1.0, "buffers": 1.0, "scoring": 1.5e8,
        "batch": 4.0, "windows": 3.0, "activations": 8.0,
    },
    ("engine openvino", "memory"): {
        "base": 3.5e8, "stored": 0.5, "resident": 1.0, "blocks": 1.0, "scoring": 1.5e8,
        "batch": 4.0, "windows": 3.0, "activations": 8.0,
    },
    ("engine", "seconds"): {
        "start": 0.8, "opening": 20.0, "prompts": 2.5, "tokens": 3.0, "weights": 1.5,
        "steps": 300.0, "cache": 2.0, "logits": 5.0, "windows": 40.0, "watching": 2.0,
        "answers": 0.03,
    },
    ("method", "memory"): {
        "base": 5e8, "weights": 1.5, "largest": 2.0, "activations": 2.0, "windows": 3.0,
    },
    ("method", "seconds"): {"start": 1.0, "weights": 150.0, "tokens": 3.0},
}  # fmt: skip
PULL = 0.1


FITTED, HELD_OUT = ("methods", "llama-1b"), ("gpt2-124m", "llama-360m", "qwen2-0.5b")


class Row(NamedTuple):
    """A cell that was measured, and the work that it was."""

    run: str
    cell: str
    work: Work
    seconds: float
    cpu: float
    memory: float
    loaded: bool
    kind: tuple[str, ...]  # cells that use the cores alike


def main() -> None:
    """Measure, print or fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("measure")
    one.add_argument("name", choices=sorted(STUDIES))
    one.add_argument("--out", type=Path, required=True)
    whole = actions.add_parser("all")
    whole.add_argument("folder", type=Path)
    whole.add_argument("runs", nargs="*", type=Path, help="other runs that count for the fit")
    for name in ("table", "fit"):
        action = actions.add_parser(name)
        action.add_argument("runs", nargs="*", type=Path)
        action.add_argument("--loaded", nargs="*", type=Path, default=[])
        action.add_argument("--held-out", nargs="*", type=Path, default=[])
        action.add_argument("--loaded-held-out", nargs="*", type=Path, default=[])
        action.add_argument("--write", action="store_true", help="into docs/preflight.md")
    chosen = parser.parse_args()
    if chosen.action == "measure":
        measure(chosen.name, chosen.out)
        return
    if chosen.action == "all":
        everything(chosen.folder, chosen.runs)
        return
    rows = read(chosen.runs, chosen.loaded)
    if chosen.action == "fit":
        fit(rows)
    else:
        lines = [f"Costs: {costs.table().measured}.\n"]
        title = "Each variant by the costs of all others"
        lines += show(title, [*crossed(rows)])
        others = read(chosen.held_out, chosen.loaded_held_out)
        lines += show("Models that nothing was fitted on", [*_predicted(others)])
        lines += show("The cells that the costs were fitted on", [*_predicted(rows)])
        text = "\n".join(lines)
        print(text)
        if chosen.write:
            page = ROOT / "docs" / "preflight.md"
            page.write_text(MARKS.sub(lambda m: m[1] + text + m[2], page.read_text()))


def measure(name: str, out: Path) -> None:
    """Run the study made for a shape, everything built anew; RUN/model holds the random weights."""
    model, home = out / "model", out / "home"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "models").exists():
        (home / "models").symlink_to(settings.models_folder())
    if name in SHAPES and not model.exists():
        write_shape(name, model)
    data = {
        "study": f"preflight-{name}",
        "model": str(model.resolve()) if name in SHAPES else "smollm2-135m",
        "variants": {k: {"engine": e, "recipe": r} for k, (e, r) in STUDIES[name].items()},
        "tasks": [
            {"name": "humaneval", "limit": 8, "max_new_tokens": 32},
            {"name": "perplexity", "limit": 4, "length": 256},
        ],
        "profile": {"prompts": 3, "concurrency": [1, 8], "new_tokens": 16},
    }
    study = out / "study.yaml"
    study.write_text(yaml.safe_dump(data, sort_keys=False))
    words = [sys.executable, "-m", "weightcut", "run", str(study), "--out", str(out)]
    subprocess.run(words, check=False, env=os.environ | {"WEIGHTCUT_HOME": str(home.resolve())})
    shutil.rmtree(home / "artifacts", ignore_errors=True)


def everything(folder: Path, more: Sequence[Path]) -> None:
    """Measure all that is not yet, fit on some of it, write the table of all into the docs."""
    for name in (*FITTED, *HELD_OUT):
        measure(name, folder / name)
    fitted_on = [str(p) for p in (*more, *(folder / name for name in FITTED))]
    held_out = [str(folder / name) for name in HELD_OUT]
    for words in (["fit", *fitted_on], ["table", *fitted_on, "--held-out", *held_out, "--write"]):
        subprocess.run([sys.executable, __file__, *words], check=True)


def read(runs: Sequence[Path], loaded: Sequence[Path]) -> list[Row]:
    """Return the finished cells of runs."""
    return [row for run in (*runs, *loaded) for row in _rows(run, run in loaded)]


def _rows(run: Path, loaded: bool) -> Iterator[Row]:
    store = RunStore.open(run)
    spec = store.spec()
    checkpoint = resolve(spec.model)
    # As it was measured when the run was planned; older runs are of the reference machine.
    at = Speed.model_validate(store.fact("speed") or {})
    cells = {cell.key: cell for cell in store.cells()}
    steps = {v.name: fitted(v.recipe, checkpoint.format, v.engine) for v in spec.variants}
    sizes = {
        v.name: int(cell.manifest["artifact"]["bytes"])
        for v in spec.variants
        if (cell := cells.get(CellKey(variant=v.name, stage="build"))) and cell.state == "done"
    }
    predictor = Predictor(
        spec, checkpoint, shape_of(checkpoint), at, verdicts.resident_bits(), sizes
    )
    made: set[str] = set()
    for key, cell in cells.items():
        todo = steps[key.variant]
        keys = [artifact_key(checkpoint, todo[: i + 1], spec.seed) for i in range(len(todo))]
        if key.stage == "build":
            todo = todo[sum(k in made for k in keys) :]
            made.update(keys)
        seconds = cell.manifest.get("seconds", cell.seconds)
        if cell.state != "done" or seconds < SHORTEST or (key.stage == "build" and not todo):
            continue
        yield Row(
            run.name,
            str(key),
            predictor.work(key, steps[key.variant], todo),
            seconds,
            float(cell.manifest["cpu_seconds"]),
            float(cell.manifest["peak_rss_bytes"]),
            loaded,
            (key.stage, key.task, *((s.kind for s in todo) if key.stage == "build" else ())),
        )


def fit(rows: Sequence[Row]) -> None:
    """Write costs.yaml."""
    here = probe.machine()
    told = f"{datetime.now(UTC):%Y-%m-%d}, {here['cpu']}, {here['cores']} cores"
    head = "# What work costs, measured: `python benchmarks/preflight.py fit` writes this file.\n"
    text = yaml.safe_dump({"measured": told, "parts": fitted_parts(rows)}, sort_keys=True)
    COSTS.write_text(head + text)
    print(f"{len(rows)} cells: {COSTS.name}", file=sys.stderr)


def fitted_parts(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the shares of every part; methods that train stay with their own word."""
    rows = [row for row in rows if not any(_trains(load.part) for load in row.work.time)]
    clock = _clock_per_cpu(rows)
    times = [
        ([(load.part, load.amounts) for load in row.work.time],
         row.cpu * clock(row) if row.loaded else row.seconds)
        for row in rows
    ]  # fmt: skip
    seconds = _solve(times, "seconds")
    phase = [0] * len(rows)
    memory: dict[str, dict[str, float]] = {}
    for _ in range(6):  # of a build's steps the hungriest counts: which one it is, is found so
        held = [
            ([(load.part, load.amounts) for load in row.work.memory[at]], row.memory)
            for row, at in zip(rows, phase, strict=True)
        ]
        memory = _solve(held, "memory")
        sums = [
            [sum(_sum(memory.get(x.part, {}), x.amounts) for x in one) for one in row.work.memory]
            for row in rows
        ]
        phase = [int(np.argmax(one)) for one in sums]
    return {
        part: {"seconds": seconds.get(part, {}), "memory": memory.get(part, {})}
        for part in sorted({*seconds, *memory} - {"worker"})
    }


def crossed(rows: Sequence[Row]) -> Iterator[tuple[Row, Prediction]]:
    """Yield each cell with its prediction by costs that were fitted on all other variants."""
    kept = costs.table
    try:
        for name in dict.fromkeys((row.run, row.cell.partition("/")[0]) for row in rows):
            mine = [row for row in rows if (row.run, row.cell.partition("/")[0]) == name]
            parts = fitted_parts([row for row in rows if row not in mine])
            table = type(kept()).model_validate({"measured": "", "parts": parts})
            costs.table = lambda table=table: table  # type: ignore[assignment, misc]
            yield from ((row, row.work.prediction()) for row in mine)
    finally:
        costs.table = kept


def _predicted(rows: Sequence[Row]) -> Iterator[tuple[Row, Prediction]]:
    yield from ((row, row.work.prediction()) for row in rows)


def _trains(part: str) -> bool:
    kind, _, name = part.partition(" ")
    return kind == "method" and bool(registry.load("method", name).trains)


def _clock_per_cpu(rows: Sequence[Row]) -> Any:
    """Return what a cell takes of the clock for each CPU second, by the quiet cells of its kind."""
    quiet = [row for row in rows if not row.loaded]

    def share(row: Row) -> float:
        alike = [q.seconds / q.cpu for q in quiet if q.kind == row.kind]
        alike = alike or [q.seconds / q.cpu for q in quiet if q.kind[0] == row.kind[0]]
        return median(alike) if alike else 1.0

    return share


def _solve(
    cells: Sequence[tuple[list[tuple[str, Any]], float]], what: str
) -> dict[str, dict[str, float]]:
    """Return shares by part and amount that best explain the measured totals, relatively."""
    names = sorted({(p, a) for loads, _ in cells for p, amounts in loads for a in amounts})
    column = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(cells), len(names)))
    for i, (loads, measured) in enumerate(cells):
        for part, amounts in loads:
            for amount, value in amounts.items():
                matrix[i, column[part, amount]] += value / measured
    expected = np.array([_expected(part, amount, what) for part, amount in names])
    # In units of what the expected share explains of a cell; others of what would explain a tenth.
    largest = np.maximum(matrix.max(axis=0), 1e-300)
    scale = np.where(expected > 0, expected, 0.1 / largest)
    start = (expected > 0).astype(float)
    weights, found = np.ones(len(cells)), start
    for _ in range(20):  # least absolute errors, by least squares that count outliers less
        rows = np.vstack([matrix * scale * weights[:, None], PULL * np.eye(len(names))])
        target = np.concatenate([weights, PULL * start])
        found, _ = nnls(rows, target, maxiter=50_000)
        error = np.abs(matrix * scale @ found - 1)
        weights = 1 / np.sqrt(np.maximum(error, 0.05))
    shares: dict[str, dict[str, float]] = {}
    for (part, amount), value in zip(names, found * scale, strict=True):
        if value * matrix[:, column[part, amount]].max() > 1e-3:
            shares.setdefault(part, {})[amount] = float(f"{value:.4g}")
    return shares


def _expected(part: str, amount: str, what: str) -> float:
    known = EXPECTED.get((part, what)) or EXPECTED.get((part.partition(" ")[0], what), {})
    return known.get(amount, 0.0)


def _sum(shares: dict[str, float], amounts: Any) -> float:
    return sum(shares.get(name, 0.0) * value for name, value in amounts.items())


def show(title: str, rows: Sequence[tuple[Row, Prediction]]) -> list[str]:
    """Return the lines of a table of cells with their errors, and their medians."""
    if not rows:
        return []
    times, memories, cells = [], [], []
    for row, made in rows:
        late, fat = made.seconds / row.seconds - 1, made.memory / row.memory - 1
        times += [] if row.loaded else [abs(late)]
        memories.append(abs(fat))
        clock = f"{row.seconds:.1f} | {late:+.0%}" if not row.loaded else "not quiet |"
        cells.append(
            f"| {row.run} | {row.cell} | {made.seconds:.1f} | {clock} "
            f"| {made.memory / 1e6:.0f} | {row.memory / 1e6:.0f} | {fat:+.0%} |"
        )
    said = f"median error of memory {median(memories):.0%} over {len(rows)} cells"
    said += f", of time {median(times):.0%} over {len(times)}" if times else ""
    return [
        f"### {title}\n\n{said[0].upper()}{said[1:]}.\n",
        "| run | cell | predicted s | measured s | error | predicted MB | measured MB | error |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *cells,
        "",
    ]


if __name__ == "__main__":
    main()
