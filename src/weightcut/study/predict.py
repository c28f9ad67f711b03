"""What a cell will cost before it runs: seconds, resident memory, disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from weightcut.compression import recipe
from weightcut.compression.method import Method
from weightcut.engines.batching import of_like_length
from weightcut.engines.engine import Engine
from weightcut.hardware.speed import REFERENCE, Speed
from weightcut.models.shape import Shape
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import CellKey, Checkpoint, ProfileSpec, Record, Step, StudySpec
from weightcut.study import costs, prompts, work
from weightcut.study.build import open_engine
from weightcut.study.costs import Load
from weightcut.study.work import Amounts, Asked, Model, Weights
from weightcut.study.worker import lacks, open_task

ANSWER = 160.0  # tokens of an answer if there were no limit: the mean of the bundled model's
PROMPT = float(prompts.WINDOW)
WIDE = 16.0  # bits of a weight that is not quantized
_SCALES = 0.25  # bits of a scale that a quantized weight has to itself, in groups of 64
_BESIDE = 4_000_000  # bytes of tokenizer and configs beside the weights
_ANSWER_KEPT = 4096  # bytes of an answer and its scores in the database
_SLOTS = 32
_IDLE = Load("worker", {"base": 1.0}, {"base": 70e6})  # a worker that has nothing to do
_IDLE_SECONDS = 0.5


class Prediction(Record):
    """Predicted wall seconds, peak resident bytes and bytes written to disk."""

    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Work:
    """What a cell has to do.

    time: loads that come one after another. memory: phases, of which the hungriest counts, each of
    loads that are held together.
    """

    time: Sequence[Load] = ()
    memory: Sequence[Sequence[Load]] = ((_IDLE,),)
    disk: int = 0

    def prediction(self) -> Prediction:
        """Return what it costs."""
        return Prediction(
            seconds=_IDLE_SECONDS + sum(map(costs.seconds, self.time)),
            memory=int(max(sum(map(costs.memory, phase)) for phase in self.memory)),
            disk=self.disk,
        )


@dataclass(frozen=True)
class Predictor:
    """Tells the work of the cells of one study.

    resident: bits that a weight takes at work, by the method that quantized it and the engine,
    where they are not those that are stored. made: bytes of the artifacts of variants that were
    built before. memory: bytes that are free for an engine, on the CPU and on a GPU; None where
    nobody knows.
    """

    spec: StudySpec
    checkpoint: Checkpoint
    shape: Shape
    speed: Speed = REFERENCE
    resident: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    made: Mapping[str, int] = field(default_factory=dict)
    memory: tuple[int | None, int | None] = (None, None)

    def work(self, key: CellKey, steps: Sequence[Step], todo: Sequence[Step]) -> Work:
        """Return what a cell has to do; todo: those of the variant's steps that a build has to run.

        What was made before stands at the beginning of the recipe.
        """
        if key.stage == "build":
            return self._build(steps, todo)
        engine = open_engine(self.spec.variant(key.variant).engine)
        methods = [recipe.build(step) for step in steps]
        model = self.model(methods, engine.kind, self.made.get(key.variant))
        room = self.memory[getattr(engine, "gpu", False)]
        model = model if room is None else model._replace(room=float(room))
        slots = int(getattr(engine, "max_batch", _SLOTS))
        if key.stage == "profile":
            return self._profile(engine, methods, model, slots)
        task = open_task(next(t for t in self.spec.tasks if t.kind == key.task))
        if task.mode == "likelihood":
            kept = task.limit * task.length * task.top_k * 8
            return loads(
                engine,
                methods,
                work.time_of_windows(task.limit, task.length, model),
                work.memory_of_windows(task.length, model),
                kept if key.variant == self.spec.baseline else 0,
            )
        asked = self._asked(key.task, task.max_new_tokens)
        return loads(
            engine,
            methods,
            work.time_of_answers(asked, slots, model),
            work.memory_of_answers(asked, slots, model),
            int(asked.answers) * _ANSWER_KEPT,
        )

    def model(
        self, methods: Sequence[Method], engine: str = "", stored: int | None = None
    ) -> Model:
        """Return what an engine opens after these steps; stored: its bytes, if they are known.

        engine: its name, where it matters how weights lie in memory.
        """
        shape, last = self._left(methods), _quantizer(methods)
        outer = last.requirements().outer_bits if last else WIDE
        bits = ((last.bits or WIDE) + _SCALES) if last else WIDE
        stored = stored or work.bytes_of(shape, bits, outer)
        resident = stored
        if last is not None and (at_work := self.resident.get(last.kind, {}).get(engine)):
            resident = work.bytes_of(shape, at_work, max(outer, at_work))
        return Model(shape, Weights(stored, resident), self.speed)

    def _profile(self, engine: Engine, methods: Sequence[Method], model: Model, slots: int) -> Work:
        spec = self.spec.profile
        assert spec is not None  # or there were no such cell
        timed = self._timed(spec)
        prompt, new = sum(timed) / len(timed), spec.new_tokens
        many = max((spec.load.at_once if spec.load else 1, *spec.concurrency))
        asked = Asked(many, many * prompt, many * new, new, max(timed) + new)

        def seconds(amounts: Amounts) -> float:
            return sum(map(costs.seconds, loads(engine, methods, amounts, {}, 0).time))

        return loads(
            engine,
            methods,
            work.time_of_profile(spec, prompt, slots, model, seconds),
            work.memory_of_answers(asked, min(many, slots), model),
            0,
        )

    def _timed(self, spec: ProfileSpec) -> list[int]:
        """Return the lengths of the timed prompts, as `prompts.profile_requests` picks them."""
        positions = self.shape.positions
        kind = next(iter(self._prompts), None)
        if kind is None:
            return [prompts.window_length(spec, positions)]
        named = next(task for task in self.spec.tasks if task.kind == kind)
        repeats = int(getattr(open_task(named), "samples", 1))
        offered = self._prompts[kind][::repeats]
        return [offered[index] for index in prompts.timed(offered, spec, positions)]

    def with_spec(self, spec: StudySpec) -> Predictor:
        """Return a predictor of another study on the same model, with none of it built."""
        other = replace(self, spec=spec, made={})
        if spec.tasks == self.spec.tasks and "_prompts" in vars(self):
            vars(other)["_prompts"] = self._prompts
        return other

    @cached_property
    def _prompts(self) -> dict[str, tuple[int, ...]]:
        """The lengths of the prompts of each task that has some, in tokens of this model."""
        tokenizer = load_tokenizer(self.checkpoint.path)
        tasks = {named.kind: open_task(named) for named in self.spec.tasks}
        return {
            kind: tuple(
                len(request.prompt_ids)
                for request in prompts.task_requests(task, tokenizer, self.spec.seed)
            )
            for kind, task in tasks.items()
            if task.mode == "generation" and not lacks(task)
        }

    def _asked(self, kind: str, limit: int) -> Asked:
        lengths = self._prompts[kind]
        return Asked(
            answers=len(lengths),
            prompts=sum(lengths),
            # Lengths fall off exponentially, and are cut at the limit.
            tokens=len(lengths) * ANSWER * -math.expm1(-limit / ANSWER),
            limit=limit,
            longest=max(lengths, default=0) + limit,
            scored=True,
            batches=tuple(
                (len(batch), batch[0] + limit)
                for batch in of_like_length(lengths, lambda length: length + limit)
            ),
        )

    def _left(self, methods: Sequence[Method]) -> Shape:
        """Return the shape after these steps."""
        share = math.prod(method.requirements().weights_left for method in methods)
        inner = int(self.shape.inner * share)
        return self.shape.model_copy(
            update={
                "parameters": inner + self.shape.outer,
                "layers": round(self.shape.layers * share),
                "cache": int(self.shape.cache * share),
            }
        )

    def _build(self, steps: Sequence[Step], todo: Sequence[Step]) -> Work:
        done = [recipe.build(step) for step in steps[: len(steps) - len(todo)]]
        time, phases, disk = list[Load](), list[tuple[Load, ...]](), 0
        for step in todo:
            method = recipe.build(step)
            needs, before = method.requirements(), self._left(done)
            own, first = costs.method_says(needs), not time
            part = f"method {step.kind}"
            time.append(
                Load(part, work.time_of_method(needs, before, self.speed, first), own.seconds)
            )
            phases.append((Load(part, work.memory_of_method(needs, before), own.memory),))
            done.append(method)
            if method.trains:  # its checkpoints are the most of it
                disk += int(needs.disk_per_weight * before.parameters)
            disk += self.model(done).weights.stored + _BESIDE
        return Work(time, (*phases, (_IDLE,)), disk)


def loads(
    engine: Engine, methods: Sequence[Method], time: Amounts, memory: Amounts, disk: int
) -> Work:
    """Return an engine's work, with what weights quantized by a method add to it."""
    own, last = costs.engine_says(engine.cost), _quantizer(methods)
    part = f"engine {engine.kind}"
    times, held = [Load(part, time, own.seconds)], [Load(part, memory, own.memory)]
    if last is not None:
        more = f"{engine.kind} with {last.kind}"
        times.append(Load(more, time, {}))
        held.append(Load(more, memory, {}))
    return Work(times, (held,), disk)


def _quantizer(methods: Sequence[Method]) -> Method | None:
    return next((m for m in reversed(methods) if m.bits is not None and m.bits < WIDE), None)
