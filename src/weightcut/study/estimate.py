"""What a recipe is predicted to cost at work and to make, for searches that cannot run them all."""

from __future__ import annotations

from typing import Literal

from weightcut.compression import recipe
from weightcut.hardware import verdicts
from weightcut.hardware.speed import REFERENCE, speed
from weightcut.models.shape import shape_of
from weightcut.records import CellKey, Checkpoint, StudySpec, VariantSpec
from weightcut.study.build import fitted, open_engine
from weightcut.study.predict import PROMPT, Predictor, loads
from weightcut.study.work import Asked, memory_of_answers, time_of_answers

TOKENS = 64  # of the answer that stands for all


class Estimator:
    """Predicts variants of one model on this machine."""

    def __init__(self, spec: StudySpec, checkpoint: Checkpoint) -> None:
        at = REFERENCE if checkpoint.format == "scripted" else speed()
        self._spec, self._format = spec, checkpoint.format
        self._predictor = Predictor(
            spec, checkpoint, shape_of(checkpoint), at, verdicts.resident_bits()
        )

    def cost(self, variant: VariantSpec, goal: Literal["latency", "memory", "size"]) -> float:
        """Return seconds of an answer, or bytes in memory or on disk."""
        steps = fitted(variant.recipe, self._format, variant.engine)
        methods = [recipe.build(step) for step in steps]
        model = self._predictor.model(methods, variant.engine.kind)
        if goal == "size":
            return float(model.weights.stored)
        asked = Asked(1, PROMPT, TOKENS, TOKENS, int(PROMPT) + TOKENS)
        time, memory = time_of_answers(asked, 1, model), memory_of_answers(asked, 1, model)
        opening = {"start": 0.0, "opening": 0.0, "answers": 0.0}
        work = loads(open_engine(variant.engine), methods, {**time, **opening}, memory, 0)
        made = work.prediction()
        return made.seconds if goal == "latency" else float(made.memory)

    def seconds(self, variant: VariantSpec) -> float:
        """Return what building it and measuring the study's tasks on it takes."""
        steps = fitted(variant.recipe, self._format, variant.engine)
        spec = self._spec.model_copy(update={"variants": (*self._spec.variants, variant)})
        asked = self._predictor.with_spec(spec)
        keys = [CellKey(variant=variant.name, stage="build")]
        keys += [CellKey(variant=variant.name, stage="task", task=t.kind) for t in spec.tasks]
        return sum(asked.work(key, steps, steps).prediction().seconds for key in keys)
