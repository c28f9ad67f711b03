"""The router on RouteLLM's MMLU outcomes: APGR, the promise on repeated splits, decision time.

    python benchmarks/routing.py DATA/routellm_mmlu/outcomes.csv.gz [--part apgr|promise|speed]

Data: lm-sys/RouteLLM (Apache-2.0), columns `prompt, weak_correct, strong_correct`. Run it with
OMP_NUM_THREADS=1. Prints JSON.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from weightcut.routing.calibrate import choose, kept_and_saved
from weightcut.routing.encoder import Corpus
from weightcut.routing.evaluate import Settings, evaluate
from weightcut.routing.fit import (
    fit_router,
    foresee,
    parts,
    promise_of,
    saved_shares,
    training_rows,
)
from weightcut.routing.policy import Training, fit_policy
from weightcut.routing.table import Table, build_table

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
        )
        given += found.allowance is not None
        chosen = np.full(len(test), len(table.variants) - 1)
        if found.allowance is not None:
            predicted = fitted.predict_many(corpus.take(test))
            chosen = choose(predicted, saved, np.array([found.allowance]))[:, 0]
        share, gain = kept_and_saved(
            chosen, table.quality[test], table.cost[test], table.cost[test, -1]
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


def speed(table: Table, calls: int = 3_000) -> dict[str, Any]:
    """Return percentiles of the time of one decision on prompts of 2 KB, microseconds."""
    found = {}
    texts = [
        "\n".join(table.prompts[n : n + 30])[:PROMPT_BYTES] for n in range(0, len(table) - 30, 7)
    ]
    for policy in ("blend", "linear", "knn", "boosted", "rules"):
        router = fit_router(table, policy)
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
    parser.add_argument("--part", choices=("apgr", "promise", "speed"), action="append")
    parser.add_argument("--train", type=float, action="append", help="default: 1500 and 0.8")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--policy", default="knn", help="of the promise")
    options = parser.parse_args()
    wanted = options.part or ["apgr", "promise", "speed"]
    sizes = options.train or [1500, 0.8]
    table = read(options.data)
    found: dict[str, Any] = {}
    if "apgr" in wanted:
        found["apgr"] = [apgr(table, size) for size in sizes]
    if "promise" in wanted:
        found["promise"] = [
            promise(table, size, options.repetitions, options.policy) for size in sizes
        ]
    if "speed" in wanted:
        found["speed"] = speed(table)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
