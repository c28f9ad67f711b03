"""What holds for a whole run and must be the same for two results to stand side by side."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from weightcut.data.corpus import corpus_digest
from weightcut.errors import WeightcutError
from weightcut.files import file_digest
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Checkpoint, Named, StudySpec, digest
from weightcut.store.run_store import RunStore
from weightcut.study.build import SPLITS, package_version
from weightcut.study.worker import VERSIONS, lacks, open_task
from weightcut.tasks.task import GenerationTask, LikelihoodTask, Noted, samples_of


def run_conditions(spec: StudySpec, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return model, texts, prompt form, sampling, seeds and versions, with digests."""
    chat = load_tokenizer(checkpoint.path).has_chat_template
    return {
        "model": {
            "reference": checkpoint.reference,
            "origin": checkpoint.origin,
            "digest": checkpoint.digest,
            "parameters": checkpoint.parameters,
            "notes": list(checkpoint.notes),
        },
        "prompt_form": "chat template" if chat else "plain completion (no chat template)",
        "tasks": {task.kind: task.settings for task in spec.tasks},
        "task_modes": {task.kind: open_task(task).mode for task in spec.tasks},
        "task_data": {task.kind: _data(open_task(task)) | _code(task) for task in spec.tasks},
        "profile": spec.profile.model_dump(mode="json") if spec.profile else None,
        "texts": {split: corpus_digest(split) for split in (*SPLITS, "evaluation")},
        "seed": spec.seed,
        "versions": {name: package_version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
    }


def hold_conditions(store: RunStore, now: dict[str, Any]) -> None:
    """Store a run's conditions; on a later call refuse others, under which results are unlike.

    What a task lacked then or lacks now tells nothing of its data: it counts once it is known.
    """
    before = store.conditions()
    if not before:
        store.remember("conditions", now)
        return
    there, here = before.get("task_data") or {}, now["task_data"]
    pairs = [(key, before.get(key), now[key]) for key in ("model", "texts")]
    pairs += [(f"the data of {kind}", there.get(kind, {}), here[kind]) for kind in here]
    for name, then, facts in pairs:
        if _unknown(then) or _unknown(facts) or _facts(then) == _facts(facts):
            continue
        raise WeightcutError(
            f"the run was begun under other conditions: {name} has changed",
            place=str(store.folder),
            cure="start anew with another --out",
        )
    known = {kind: here[kind] if _unknown(there[kind]) else there[kind] for kind in here}
    if known != there:
        store.remember("conditions", before | {"task_data": known})


def other_versions(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words which libraries have changed since a run was begun."""
    there, here = before.get("versions", {}), now["versions"]
    return [
        f"{name} is {here[name] or 'gone'}, the run was begun with {there[name] or 'none'}"
        for name in here
        if name in there and there[name] != here[name]
    ]


def hold_machine(store: RunStore, here: dict[str, Any]) -> None:
    """Store what machine a run is made on; on a later call refuse another one."""
    there = store.machine()
    for key in ("cpu", "cores", "gpus"):
        if there and there.get(key) != here.get(key):
            raise WeightcutError(
                f"the run was begun on another machine: {key} is {here.get(key)} here, "
                f"{there.get(key)} there",
                place=str(store.folder),
                cure="start anew with another --out: timings of two machines cannot be compared",
            )
    if not there:
        store.remember("machine", here)


def _unknown(facts: Any) -> bool:
    return isinstance(facts, dict) and facts.get("digest", "") is None


def _facts(data: Any) -> str:
    """Return a digest of conditions without what is only said of them."""
    return digest(_without_notes(data))


def _without_notes(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _without_notes(v) for k, v in data.items() if k != "notes"}
    return data


def _code(named: Named) -> dict[str, str]:
    """Return the digest of the file that a task of the user's own comes from."""
    if not named.source:
        return {}
    return {"code": file_digest(Path(named.source.rpartition(":")[0]))}


def _data(task: GenerationTask | LikelihoodTask) -> dict[str, Any]:
    """Return a digest of all that a task asks and judges by, and what it says of its data."""
    if lacks(task):
        return {"digest": None, "notes": [f"{task.kind}: {lacks(task)}"]}
    if isinstance(task, LikelihoodTask):
        found = digest(list(task.documents()))
    else:
        found = digest([sample.model_dump(mode="json") for sample in samples_of(task)])
    return {"digest": found, "notes": list(task.notes()) if isinstance(task, Noted) else []}
