"""The router on RouteLLM's MMLU outcomes: APGR, the promise on repeated splits, decision time.

    python benchmarks/routing.py DATA/routellm_mmlu/outcomes.csv.gz [--part PART]

Data: lm-sys/RouteLLM (Apache-2.0), columns `prompt, weak_correct, strong_correct`; `made-up` needs
none: three variants and a continuous quality. Run it with OMP_NUM_THREADS=1. Prints JSON;
`--publish` keeps it in docs/measured/routing.json and writes the section of docs/routing.md.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import gzip
import json
import os
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from weightcut.hardware.probe import machine
from weightcut.routing.calibrate import choose, kept_and_saved, weights_of
from weightcut.routing.encoder import Corpus
from weightcut.routing.evaluate import Settings, evaluate
from weightcut.routing.files import write_router
from weightcut.routing.fit import (
    fit_router,
    foresee,
    parts,
    promise_of,
    saved_shares,
    training_rows,
)
from weightcut.routing.policy import Training, fit_policy
from weightcut.routing.router import load_router
from weightcut.routing.table import Table, build_table

ROOT = Path(__file__).parent.parent
KEPT, PAGE = ROOT / "docs" / "measured" / "routing.json", ROOT / "docs" / "routing.md"
MARKS = re.compile(r"(<!-- measured: [^>]*-->\n).*?(<!-- /measured -->)", re.DOTALL)
COSTS = {"weak": 1.0, "strong": 10.0}
"""Made up; APGR and CPT do not depend on them."""
PROMPT_BYTES = 2_048
TESTED = 3_000
"""Prompts of a test split on which the promise is checked, at most."""


def read(path: Path) -> Table:
    """Return the wide file as an outcome table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        wide = list(csv.DictReader(stream))
    rows = (
        {
            "prompt_id": str(n),
            "prompt": row["prompt"],
            "variant": variant,
            "quality": row[f"{variant}_correct"],
            "cost": cost,
        }
        for n, row in enumerate(wide)
        for variant, cost in COSTS.items()
    )
    return build_table(((f"row {n}", row) for n, row in enumerate(rows)), str(path))


def apgr(table: Table, train: float) -> dict[str, Any]:
    """Return every policy's APGR and CPT on 5 splits."""
    began = time.process_time()
    found = evaluate(table, Settings(train=train, splits=5, seed=0))
    return {
        **{key: found[key] for key in ("n", "train", "test", "splits")},
        "policies": {
            name: {key: p[key] for key in ("apgr", "cpt", "promise") if key in p}
            for name, p in found["policies"].items()
        },
        "says": found["says"],
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def promise(table: Table, train: float, repetitions: int, policy: str) -> dict[str, Any]:
    """Return how often the calibrated threshold kept 95% of the quality on the test split."""
    corpus, groups = Corpus.of(table.prompts), table.groups()
    saved, keep = saved_shares(table.costs), 0.95
    count = round(train * len(table)) if train < 1 else int(train)
    kept, cheaper, given = [], [], 0
    for repetition in range(repetitions):
        rows, test = parts(groups, count, 10_000 + repetition)
        test = test[:TESTED]
        learn, check = parts(groups[rows], training_rows(len(rows)), repetition)
        learn, check = rows[learn], rows[check]
        training = Training(corpus.take(learn), table.quality[learn], repetition)
        fitted = fit_policy(policy, training)
        found = promise_of(
            fitted,
            foresee(fitted, training.corpus, table.take(learn)),
            foresee(fitted, corpus.take(check), table.take(check)),
            saved,
            (keep, 0.95, repetition),
            groups[check],
        )
        given += found.allowance is not None
        chosen = np.full(len(test), len(table.variants) - 1)
        if found.allowance is not None:
            predicted = fitted.predict_many(corpus.take(test))
            chosen = choose(predicted, saved, np.array([found.allowance]))[:, 0]
        full_cost, weights = table.cost[test, -1], weights_of(groups[test])
        share, gain = kept_and_saved(
            chosen, table.quality[test], table.cost[test], full_cost, weights
        )
        kept.append(share)
        cheaper.append(gain)
    return {
        "policy": policy,
        "repetitions": repetitions,
        "trained_and_calibrated_on": count,
        "tested_on": len(test),
        "promised": given,
        "held": float(np.mean(np.array(kept) >= keep)),
        "kept": [float(v) for v in np.quantile(kept, [0.05, 0.5, 0.95])],
        "cost_saved": [float(v) for v in np.quantile(cheaper, [0.05, 0.5, 0.95])],
    }


def made_up(prompts: int = 4_000, seed: int = 0) -> Table:
    """Return outcomes of another kind: three variants, continuous qualities and costs, heavy noise.

    What makes a prompt hard are its words and, a little, its length; one variant in ten answers
    breaks down entirely whatever the prompt, and the middle variant is best at one topic.
    """
    draw = np.random.default_rng(seed)
    words = np.array([f"{a}{b}" for a in ("ka", "mo", "ri", "te", "su") for b in "bdfglmnprst"])
    hard = draw.normal(0, 1, len(words))
    rows = []
    for n in range(prompts):
        chosen = draw.integers(0, len(words), int(draw.integers(5, 60)))
        need = hard[chosen].mean() * 2 + len(chosen) / 60 + draw.normal(0, 0.6)
        for name, skill, cost in (("small", 0.2, 1.0), ("middle", 0.9, 3.0), ("large", 1.5, 9.0)):
            able = skill + (0.6 if name == "middle" and 0 in chosen else 0.0) - need
            quality = 1 / (1 + np.exp(-2 * able - draw.normal(0, 0.5)))
            rows.append(
                {
                    "prompt_id": str(n),
                    "prompt": " ".join(words[chosen]),
                    "variant": name,
                    "quality": float(quality) * float(draw.random() > 0.1),
                    "cost": cost * len(chosen) / 30 * float(draw.lognormal(0, 0.3)),
                }
            )
    return build_table(((f"row {n}", row) for n, row in enumerate(rows)), "made up")


def speed(table: Table, calls: int = 3_000) -> dict[str, Any]:
    """Return percentiles of the time of one decision on prompts of 2 KB, microseconds.

    The router is stored and read again, as a server does.
    """
    found = {}
    texts = [
        "\n".join(table.prompts[n : n + 30])[:PROMPT_BYTES] for n in range(0, len(table) - 30, 7)
    ]
    for policy in ("blend", "linear", "knn", "boosted", "rules"):
        with TemporaryDirectory() as folder:
            write_router(fit_router(table, policy), Path(folder) / "router")
            router = load_router(Path(folder) / "router")
        for text in texts[:50]:
            router.decide(text)
        taken = []
        for n in range(calls):
            text = texts[n % len(texts)]
            began = time.perf_counter_ns()
            router.decide(text)
            taken.append(time.perf_counter_ns() - began)
        found[policy] = [float(v) for v in np.percentile(taken, [50, 95, 99]) / 1000]
    return {"prompt_bytes": PROMPT_BYTES, "calls": calls, "p50_p95_p99_us": found}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("apgr", "promise", "made-up", "speed"), action="append")
    parser.add_argument("--train", type=float, action="append", help="default: 1500 and 0.8")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--policy", default="knn", help="of the promise")
    parser.add_argument("--publish", action="store_true", help="keep the figures in docs")
    options = parser.parse_args()
    wanted = options.part or ["apgr", "promise", "made-up", "speed"]
    table = read(options.data)
    found: dict[str, Any] = {}
    if "speed" in wanted:
        found["speed"] = speed(table)
    for size in options.train or [1500, 0.8]:
        many = (size, options.repetitions, options.policy)
        if "apgr" in wanted:
            found[f"apgr {size:g}"] = apgr(table, size)
        if "promise" in wanted:
            found[f"promise mmlu {size:g} {options.policy}"] = promise(table, *many)
        if "made-up" in wanted:
            found[f"promise made-up {size:g} {options.policy}"] = promise(made_up(), *many)
    here = machine()
    where = {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "machine": f"{here['cpu']}, {here['cores']} cores",
        "load_average": round(os.getloadavg()[0], 1),
    }
    found = {name: part | where for name, part in found.items()}
    print(json.dumps(found, indent=2))
    if options.publish:
        publish(found)


def publish(found: dict[str, Any]) -> None:
    """Keep the figures beside those of earlier runs, and write the section of docs/routing.md."""
    KEPT.parent.mkdir(exist_ok=True)
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    KEPT.write_text(json.dumps(kept | found, indent=1) + "\n")
    PAGE.write_text(
        MARKS.sub(lambda m: m[1] + section(kept | found) + m[2], PAGE.read_text(encoding="utf-8")),
        encoding="utf-8",
    )


def section(kept: dict[str, Any]) -> str:
    """Return the section on what was measured."""
    lines = ["", "| trained on | APGR of `blend`, 5 splits | calibrated, it saves | keeps |"]
    lines.append("|---|---|---|---|")
    for name, part in kept.items():
        if name.startswith("apgr"):
            one = part["policies"]["blend"]
            score, told = one["apgr"], one["promise"]
            saved = told["cost_saved"]
            lines.append(
                f"| {part['train']:,} prompts | {score['value']:.3f} [{score['low']:.3f}, "
                f"{score['high']:.3f}] | {saved['value']:.1%} [{saved['low']:.1%}, "
                f"{saved['high']:.1%}] of the cost | {told['quality_kept']['value']:.1%} of the "
                "quality |"
            )
    lines += [
        "",
        "| table | learnt from and calibrated on | tested on | promise held "
        "| saved, median [5%, 95%] |",
        "|---|---|---|---|---|",
    ]
    for name, part in kept.items():
        if name.startswith("promise"):
            counts = f"{part['trained_and_calibrated_on']:,} prompts | {part['tested_on']:,}"
            held = f"{part['held']:.1%} of {part['repetitions']} splits"
            least, median, most = part["cost_saved"]
            table, span = name.split()[1], f"{median:.1%} [{least:.1%}, {most:.1%}]"
            lines.append(f"| {table}, `{part['policy']}` | {counts} | {held} | {span} |")
    if "speed" in kept:
        part = kept["speed"]
        times = "; ".join(
            f"`{policy}` {p50 / 1000:.2f} and {p99 / 1000:.2f}"
            for policy, (p50, _, p99) in part["p50_p95_p99_us"].items()
        )
        lines += [
            "",
            f"A decision on a prompt of 2 KB, one core, milliseconds (p50 and p99): {times}.",
        ]
    runs = sorted({(part["date"], part["machine"]) for part in kept.values()})
    said = "; ".join(f"{date}, {machine}" for date, machine in runs)
    loads = [part["load_average"] for part in kept.values()]
    lines += ["", f"Measured {said}; load average {min(loads):g} to {max(loads):g}.", "", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
