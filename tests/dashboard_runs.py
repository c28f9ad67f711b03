"""Run folders for tests of the dashboard, written without running anything."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.studies import QUICKSTART, Character, Study, example_study
from weightcut.records import Cell, Results
from weightcut.store.run_store import FILE, RunStore

CURVE = [
    {
        "step": step,
        "loss": 2.0 / (1 + step),
        "held_out_loss": 2.1 / (1 + step) if step % 4 == 0 else None,
        "learning_rate": 1e-4,
        "tokens_per_s": 900.0 + step,
        "seconds": 1.5 * step,
        "peak_rss_bytes": 2_000_000_000,
    }
    for step in range(1, 13)
]
HOSTILE = "<script>window.hacked=1</script> **b** \u202egnp \N{PILE OF POO} \u05d0\u05d1\u05d2 [x](http://e.invalid)"


def small_study(**settings: Any) -> Study:
    """Return the example study with few samples."""
    given = {"samples": 24, "windows": 4, **settings}
    return example_study(**given)


def write_run(
    folder: Path, study: Study | None = None, change: Callable[[Cell], Cell] = lambda cell: cell
) -> Path:
    """Write a run as the store keeps it; `change` may alter each cell before."""
    made = study or small_study()
    store = RunStore.create(folder, made.spec)
    store.remember("machine", made.machine)
    store.remember("conditions", made.conditions)
    store.remember("started", "2026-01-02T03:04:05+00:00")
    cells = [change(cell) for cell in made.cells]
    store.plan([cell.key for cell in cells])
    for cell in cells:
        fields = cell.model_dump(mode="json", exclude={"key"})
        store.update(cell.key, **fields)
    store.close()
    with sqlite3.connect(folder / FILE) as connection:
        numbers = {
            (variant, stage, task): number
            for number, variant, stage, task in connection.execute(
                "select id, variant, stage, task from cells"
            )
        }
        connection.executemany(
            "insert into observations values (?, ?, ?, ?, ?)",
            [
                (
                    numbers[key.variant, key.stage, key.task],
                    one.sample,
                    one.repeat,
                    json.dumps(one.values),
                    json.dumps(one.detail),
                )
                for key, observations in made.observations.items()
                for one in observations
            ],
        )
    connection.close()
    return folder


def with_real_names(study: Study) -> Study:
    """Return the study with the names that HumanEval's samples have, so that prompts are found."""
    observations = {
        key: [
            one.model_copy(update={"sample": f"{int(one.sample.partition('/')[2]):03}"})
            if one.sample.startswith("HumanEval/")
            else one
            for one in rows
        ]
        for key, rows in study.observations.items()
    }
    return study._replace(observations=observations)


def with_curve(cell: Cell, curve: Any = None) -> Cell:
    """Return the distilled variant's build with a training curve."""
    if cell.key.stage != "build" or not cell.key.variant.startswith("distilled"):
        return cell
    record = {
        "curve": CURVE if curve is None else curve,
        "trainable_parameters": 900_000,
        "total_parameters": 134_515_008,
    }
    details = {"distill": record}
    artifact = {**cell.manifest["artifact"], "details": details}
    return cell.model_copy(update={"manifest": {**cell.manifest, "artifact": artifact}})


def renamed(names: Mapping[str, str]) -> tuple[Character, ...]:
    """Return the example's variants under other names."""
    from dataclasses import replace

    return tuple(replace(c, name=names.get(c.name, c.name)) for c in QUICKSTART)


def hostile_study() -> Study:
    """Return a study whose names and answers would do harm if they were taken as markup."""
    study = small_study(characters=renamed({"ov-int8": HOSTILE}), samples=12)
    observations = {
        key: [
            one.model_copy(
                update={
                    "detail": {**one.detail, "text": HOSTILE + "\n</pre><img src=x onerror=hacked>"}
                }
            )
            if "text" in one.detail
            else one
            for one in rows
        ]
        for key, rows in study.observations.items()
    }
    return study._replace(observations=observations)


def many_variants(results: Results, count: int) -> Results:
    """Return results of so many variants: the baseline, and the others over and over."""
    base, *others = results.variants
    copies = [
        others[number % len(others)].model_copy(update={"name": f"variant-{number:03}"})
        for number in range(1, count)
    ]
    return results.model_copy(update={"variants": [base, *copies]})
