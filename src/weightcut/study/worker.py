"""One cell, in a process of its own: `warm.py` forks it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from weightcut import registry, settings
from weightcut.data.blocks import token_blocks
from weightcut.errors import WeightcutError, full_disk, sealed_home
from weightcut.models.shape import shape_of
from weightcut.models.tokenizer import Tokenizer, load_tokenizer
from weightcut.profiling.load import under_load
from weightcut.profiling.machine import OthersLoad, gpus_held, peak_rss_bytes
from weightcut.profiling.measure import measure
from weightcut.records import (
    Artifact,
    CellKey,
    Checkpoint,
    Completion,
    Named,
    Observation,
    ProfileSpec,
    Record,
    Request,
    StudySpec,
    VariantSpec,
)
from weightcut.store.artifacts import RECORD, read_artifact
from weightcut.store.run_store import RunStore
from weightcut.study import prompts
from weightcut.study.alike import begin
from weightcut.study.build import build_artifact, fitted, open_engine, package_version
from weightcut.study.disjoint import refuse_overlap
from weightcut.study.likelihood import measure_windows, reference_folder
from weightcut.tasks.task import Demanding, GenerationTask, LikelihoodTask

VERSIONS = ("weightcut", "torch", "transformers", "openvino", "openvino-genai", "nncf",
            "bitsandbytes", "compressed-tensors", "llmcompressor", "torchao", "numpy",
            "tokenizers")  # fmt: skip
REPORT_EVERY = 0.25  # seconds between progress events


class Job(Record):
    """What a worker is told: the run, the cell, the model, where artifacts go."""

    folder: Path
    key: CellKey
    checkpoint: Checkpoint
    artifacts: Path


class Events:
    """Progress and log lines to the parent; a parent that has gone is no error."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", buffering=1)
        self._last = 0.0

    def progress(self, phrase: str, share: float | None, force: bool = False) -> None:
        """Tell how far the cell is: a phrase and a share from 0 to 1, or None."""
        now = time.monotonic()
        if force or now - self._last >= REPORT_EVERY:
            self._last = now
            self.send({"phrase": phrase, "share": share})

    def send(self, event: dict[str, Any]) -> None:
        """Send one event."""
        self._stream.write(json.dumps(event) + "\n")


class Cell:
    """What running one cell needs, opened once."""

    def __init__(self, job: Job, events: Events) -> None:
        self.job, self.events = job, events
        self.store = RunStore.open(job.folder)
        self.spec: StudySpec = self.store.spec()
        self.variant: VariantSpec = self.spec.variant(job.key.variant)

    @property
    def key(self) -> CellKey:
        """Return the key of the cell."""
        return self.job.key

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the model before compression, the same for all variants."""
        return load_tokenizer(self.job.checkpoint.path)

    def artifact(self) -> Artifact:
        """Return the variant's artifact, verified by digest."""
        build = self.store.cell(CellKey(variant=self.key.variant, stage="build"))
        facts = build.manifest.get("artifact") if build else None
        if facts is None:
            raise WeightcutError("the variant was not built", place=str(self.key))
        artifact = Artifact.model_validate(facts)
        if (artifact.path / RECORD).is_file():
            return read_artifact(artifact.path)
        return artifact

    def begin(self, **digests: str) -> dict[str, Any]:
        """Return what is to be told of how the cell is measured; see `alike.begin`."""
        return begin(self.store, self.key, self.variant, self.job.checkpoint, **digests)

    def add(self, observation: Observation) -> None:
        """Commit one observation."""
        self.store.add(self.key, observation)


def run_build(cell: Cell) -> dict[str, Any]:
    """Make the variant's artifact."""
    checkpoint = cell.job.checkpoint
    steps = fitted(cell.variant.recipe, checkpoint.format, cell.variant.engine)
    tasks = [open_task(named) for named in cell.spec.tasks]
    refuse_overlap(steps, [task for task in tasks if not lacks(task)])
    artifact = build_artifact(
        checkpoint,
        steps,
        cell.job.artifacts,
        cell.spec.seed,
        lambda phrase, share: cell.events.progress(phrase, share, force=True),
    )
    return {"artifact": artifact.model_dump(mode="json")}


def run_task(cell: Cell) -> dict[str, Any]:
    """Answer or predict what the task asks, scoring while the engine goes on."""
    named = next(task for task in cell.spec.tasks if task.kind == cell.key.task)
    task = open_task(named)
    if task.mode == "generation":
        return _generate(cell, task)
    texts = task.documents()
    blocks = token_blocks(texts, cell.tokenizer(), task.limit, task.length, source=task.kind)
    facts = cell.begin(text_digest=blocks.digest)
    with open_engine(cell.variant.engine).open(cell.artifact()) as session:
        measure_windows(
            blocks,
            session,
            reference_folder(cell.job.folder, cell.key.task),
            top=task.top_k,
            is_baseline=cell.variant.name == cell.spec.baseline,
            done=cell.store.finished(cell.key),
            add=cell.add,
            progress=cell.events.progress,
        )
        return {"engine": session.describe(), **facts}


def open_task(named: Named) -> GenerationTask | LikelihoodTask:
    """Return the task with its settings."""
    if named.source:
        model = registry.load_file("task", named.source)
    else:
        model = registry.load("task", named.kind)
    task = model.model_validate({"kind": named.kind, **named.settings})
    return cast("GenerationTask | LikelihoodTask", task)


def lacks(task: GenerationTask | LikelihoodTask) -> str:
    """Return why a task cannot run on this machine, "" if it can."""
    return (task.missing() or "") if isinstance(task, Demanding) else ""


def _generate(cell: Cell, task: GenerationTask) -> dict[str, Any]:
    tokenizer = cell.tokenizer()
    requests = prompts.task_requests(task, tokenizer, cell.spec.seed)
    samples = {sample.id: sample for sample in task.items()}
    done = cell.store.finished(cell.key)
    todo = [one for one in requests if _split(one.id) not in done]
    facts = cell.begin(prompts_digest=prompts.prompts_digest(requests))
    facts["prompt_form"] = "chat" if tokenizer.has_chat_template else "plain"
    by_id = {request.id: request for request in todo}

    def score(completion: Completion) -> None:
        name, repeat = _split(completion.request_id)
        scores = task.score(samples[name], completion, tokenizer.has_chat_template)
        cell.add(_observation(by_id[completion.request_id], completion, scores, name, repeat))

    with (
        open_engine(cell.variant.engine).open(cell.artifact()) as session,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        facts["engine"] = session.describe()
        scoring: list[Future[None]] = []
        for completion in session.generate(todo) if todo else ():
            scoring.append(pool.submit(score, completion))
            share = (len(done) + len(scoring)) / len(requests)
            cell.events.progress(f"{len(done) + len(scoring)}/{len(requests)} answers", share)
        for future in scoring:
            future.result()
    return facts


def _observation(
    request: Request, completion: Completion, scores: Any, sample: str, repeat: int
) -> Observation:
    values = dict(scores.values) | {
        "tokens": float(len(completion.token_ids)),
        "prompt_tokens": float(len(request.prompt_ids)),
    }
    if completion.mean_logprob is not None:
        values["mean_logprob"] = completion.mean_logprob
    detail = {"text": completion.text, "finish_reason": completion.finish_reason, **scores.detail}
    return Observation(sample=sample, repeat=repeat, values=values, detail=detail)


def _split(request_id: str) -> tuple[str, int]:
    sample, _, repeat = request_id.rpartition("/")
    return sample, int(repeat)


def run_profile(cell: Cell) -> dict[str, Any]:
    """Time the variant; a timing that was cut short is made anew, whole."""
    spec = cell.spec.profile
    if spec is None:
        raise WeightcutError("the study has no profile", place=str(cell.key))
    cell.store.clear(cell.key)
    tasks = [open_task(named) for named in cell.spec.tasks]
    generation = [t for t in tasks if t.mode == "generation" and not lacks(t)]
    requests = _timed_requests(cell, spec, generation)
    facts = cell.begin(prompts_digest=prompts.prompts_digest(requests))
    total = spec.prompts + 2 * sum(1 for level in spec.concurrency if level > 1)
    if spec.load is not None:
        total += len((*spec.load.rates, *spec.load.clients)) * (spec.load.requests + 1)
    for count, observation in enumerate(_timings(cell, spec, requests, facts), start=1):
        cell.add(observation)
        cell.events.progress(observation.sample, min(1.0, count / total))
    return facts


def _timed_requests(
    cell: Cell, spec: ProfileSpec, tasks: Sequence[GenerationTask]
) -> list[Request]:
    """Return the requests that the other variants were timed with.

    They are the first task's, but it may have been another one that was here then.
    """
    known = {
        other.manifest.get("prompts_digest")
        for other in cell.store.cells()
        if other.key.stage == "profile" and other.state == "done"
    }
    seed, positions = cell.spec.seed, shape_of(cell.job.checkpoint).positions
    offered = (
        prompts.profile_requests(spec, tasks[start:], cell.tokenizer(), seed, positions)
        for start in range(len(tasks) + 1)
    )
    first = next(offered)
    if not known or prompts.prompts_digest(first) in known:
        return first
    return next((one for one in offered if prompts.prompts_digest(one) in known), first)


def _timings(
    cell: Cell, spec: ProfileSpec, requests: list[Request], facts: dict[str, Any]
) -> Iterator[Observation]:
    """Yield all readings; `facts` gets the engine's description."""
    engine, artifact = open_engine(cell.variant.engine), cell.artifact()
    with engine.open(artifact) as session:
        facts["engine"] = session.describe()
        yield from measure(session, requests, spec.prompts, spec.concurrency, spec.patience)
    if spec.load is not None:
        # Opened anew: a batch that requests join has a cache, and may have weights, of its own.
        with engine.open(artifact) as session:
            asked = requests[1:] or requests
            watch = OthersLoad()
            yield from under_load(session, asked, spec.load, cell.spec.seed)
            yield Observation(sample="machine-load", values={"busy_under_load": watch.share()})


STAGES = {"build": run_build, "task": run_task, "profile": run_profile}


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends."""
    prctl_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(prctl_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit("the parent has gone")


def run(job: Job, descriptor: int) -> int:
    """Run a cell in this process, forked for it; return 0 where it is finished, 1 where it failed.

    descriptor: where events go, one JSON object a line.
    """
    events = Events(descriptor)
    try:
        cell = Cell(job, events)
        manifest = STAGES[job.key.stage](cell)
    except WeightcutError as error:
        traceback.print_exc()
        cure = f" ({error.cure})" if error.cure else ""
        events.send({"error": f"{error}{cure}", "certain": True})
        return 1
    except Exception as error:  # noqa: BLE001 - whatever a library raises costs this cell only
        traceback.print_exc()
        if plain := full_disk(error) or sealed_home(error, settings.home()):
            events.send({"error": f"{plain} ({plain.cure})", "certain": True})
        else:
            events.send({"error": f"{type(error).__name__}: {error}"})
        return 1
    manifest["peak_rss_bytes"] = peak_rss_bytes()
    manifest["cpu_seconds"] = sum(os.times()[:4])  # with the sandbox's processes that have ended
    manifest["gpus_held"] = gpus_held()
    manifest["versions"] = {name: package_version(name) for name in VERSIONS}
    events.send({"manifest": manifest})
    return 0
