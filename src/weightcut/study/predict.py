"""What a cell will cost, roughly, before it runs: seconds, resident memory, disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weightcut.compression import recipe
from weightcut.records import CellKey, Checkpoint, Record, Step, StudySpec
from weightcut.study.build import open_engine
from weightcut.study.worker import open_task

ANSWER_SHARE = 0.55  # of the token limit that answers reach on average
PROMPT_TOKENS = 190
BITS_UNQUANTIZED = 16.0
REFERENCE_CORES = 2


class Prediction(Record):
    """Predicted wall seconds, peak resident bytes and bytes written to disk."""

    seconds: float
    memory: int
    disk: int


def predict(
    spec: StudySpec, key: CellKey, steps: Sequence[Step], checkpoint: Checkpoint, cores: int
) -> Prediction:
    """Predict one cell from the number of weights and the rough costs of method and engine.

    steps: those that the cell itself has to run where it is a build, else the variant's whole
    recipe.
    """
    if key.stage == "build":
        return _build(steps, checkpoint)
    cost = open_engine(spec.variant(key.variant).engine).cost
    weights = checkpoint.parameters
    bits = recipe.bits(steps) or BITS_UNQUANTIZED
    memory = cost.base_memory + int(weights * bits / 8 * cost.weights_copies)
    single, batched, prefill = cost.single_s, cost.batched_s, cost.prefill_s
    if key.stage == "profile":
        seconds = _profile(spec, single * bits / BITS_UNQUANTIZED, batched)
        return Prediction(seconds=cost.start_s + 3 + seconds * weights, memory=memory, disk=0)
    task = open_task(next(t for t in spec.tasks if t.kind == key.task))
    if task.mode == "likelihood":
        tokens = task.limit * task.length
        disk = tokens * task.top_k * 8 if key.variant == spec.baseline else 0
        per_weight = tokens * prefill
    else:
        count = len(task.items()) * task.samples
        new = count * task.max_new_tokens * ANSWER_SHARE
        per_weight = new * batched + count * PROMPT_TOKENS * prefill
        disk = count * 4096
    seconds = cost.start_s + per_weight * weights * REFERENCE_CORES / max(1, cores)
    return Prediction(seconds=seconds, memory=memory, disk=disk)


def _build(steps: Sequence[Step], checkpoint: Checkpoint) -> Prediction:
    needs = [recipe.build(step).requirements() for step in steps]
    weights = checkpoint.parameters
    return Prediction(
        seconds=1.0 + sum(n.base_seconds + n.seconds_per_weight * weights for n in needs),
        memory=max((n.base_memory + int(n.memory_per_weight * weights) for n in needs), default=0),
        disk=sum(int(n.disk_per_weight * weights) for n in needs),
    )


def _profile(spec: StudySpec, single: float, batched: float) -> float:
    profile: Any = spec.profile
    several = sum(level for level in profile.concurrency if level > 1)
    load = profile.load
    # At low rates requests are answered one by one, so that is what the load counts as.
    alone = profile.prompts
    if load is not None:
        alone += load.requests * len((*load.rates, *load.clients))
    return float(profile.new_tokens * (alone * single + 2 * several * batched * 1.5))
