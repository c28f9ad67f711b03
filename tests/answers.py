"""What the tests of tasks share: answers made by hand, and where public data may lie."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from weightcut.records import Completion, Sample, Scores
from weightcut.tasks.task import GenerationTask

DATA = Path(__file__).parents[2] / "shared" / "data"


def data(name: str) -> str:
    """Return a folder of public data; skips where it is absent."""
    if not (DATA / name).is_dir():
        pytest.skip(f"the public data {name} are not beside the project")
    return str(DATA / name)


def completion(text: str) -> Completion:
    """Return an answer that ended by itself."""
    return Completion(
        request_id="x/0", text=text, token_ids=(1, 2, 3), token_times=(), finish_reason="stop"
    )


def scores(
    task: GenerationTask, answer: Callable[[Sample], str], chat: bool = True
) -> dict[str, Scores]:
    """Return the scores of one answer to every sample of a task."""
    items = task.items()
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = pool.map(lambda s: task.score(s, completion(answer(s)), chat), items)
        return {sample.id: one for sample, one in zip(items, found, strict=True)}


def share(found: dict[str, Scores], metric: str) -> float:
    """Return the mean of a metric."""
    return sum(one.values[metric] for one in found.values()) / len(found)
