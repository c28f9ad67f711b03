"""Distillation: a smaller model learns to predict what the larger one predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.compression import accelerate_launch
from weightcut.compression.distillation_loss import distillation_loss, divergence
from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import load_causal_lm, save_causal_lm
from weightcut.compression.hf_source import check_source
from weightcut.compression.method import Context, Requirements
from weightcut.compression.teachers import (
    LiveTeacher,
    Teacher,
    kept_teacher,
    require_same_tokenizer,
    shared_width,
)
from weightcut.compression.training import (
    TrainingSettings,
    Windows,
    autocast,
    device,
    has_bfloat16,
    labels,
    train,
    windows,
)
from weightcut.errors import UsageError
from weightcut.models.digest import folder_digest
from weightcut.models.hub import parse
from weightcut.models.resolve import resolve
from weightcut.records import Format


class Distill(TrainingSettings):
    """Train the model to match a teacher's next-token distributions on training text.

    The loss is the forward KL divergence at a temperature, mixed with the label loss (Hinton 2015,
    arXiv:1503.02531). After pruning it is the retraining that gives most of the loss back, from
    the unpruned model as the teacher (Minitron, arXiv:2407.14679: KL on logits alone, no labels).
    Weights are trained in float32 with bfloat16 arithmetic and stored in the type they came in.
    The teacher's `top_k` most probable tokens at each place are kept on disk: several students
    that see the same text cost one pass of the teacher, and both never work side by side.
    """

    kind: Literal["distill"] = "distill"
    temperature: float = Field(
        1.0, gt=0, description="softens both distributions; 1 is as they are"
    )
    alpha: float = Field(
        0.0, ge=0, le=1, description="share of the label loss; 0 imitates the teacher alone"
    )
    top_k: int = Field(
        64, ge=0, description="the teacher's tokens kept at each place, the rest counts as one;"
        " 0: all, with the teacher beside the student"
    )  # fmt: skip
    hidden_states: float = Field(
        0.0, ge=0, description="weight of the cosine distance between the layers' outputs, added"
        " to the loss; above 0 the teacher runs beside the student"
    )  # fmt: skip
    teacher: str = Field(
        "", description="folder, alias or hub:org/name@COMMIT of the teacher; empty: the model that"
        " the recipe started from"
    )  # fmt: skip

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None
    paper: ClassVar[str] = "arXiv:2407.14679"

    def requirements(self) -> Requirements:
        """Return what it needs: float32 weights, gradients and two moments, and the teacher."""
        tokens = self.steps * self.batch_size * self.length
        return Requirements(
            packages=("torch", "transformers", "accelerate"),
            memory_per_weight=18.0,
            base_memory=1_200_000_000 + 1_000_000 * self.batch_size * self.length,
            seconds_per_weight=4e-11 * tokens,
            base_seconds=15.0,
            disk_per_weight=26.0,
        )

    def reads(self) -> dict[str, str]:
        """Return the teacher's digest, where one is named."""
        return {"teacher": folder_digest(self._teacher())} if self.teacher else {}

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Train a copy of the model in `source` and write it to `out`."""
        folder = self._teacher() if self.teacher else context.origin
        require_same_tokenizer(source, folder)
        for model in (source, folder):
            check_source(model)
        text = windows(self, context)
        width = shared_width(source, folder)
        teacher, passes = self._ready(folder, text, width, context)
        if accelerate_launch.wanted():
            del teacher
            accelerate_launch.run(self, source, out, context, text)
            return
        student = load_causal_lm(source)
        stored = student.dtype
        student = student.float().to(device())
        validate = validation(teacher, text, width)
        before = validate(student)
        trained = train(student, text, self._loss(teacher, width), validate, self, context)
        context.record.update(
            trained.record,
            validation_before=before,
            precision="bfloat16 on float32 weights" if has_bfloat16() else "float32",
            teacher=folder_digest(folder),
            teacher_windows=passes,
        )
        if not trained.main:
            return
        if trained.weights is not None:
            student = load_causal_lm(source, "float32")
            student.load_state_dict(trained.weights, strict=False)
        save_causal_lm(student.to("cpu", stored), source, out)
        context.record["bytes_by_part"] = bytes_by_part(out)

    def _ready(
        self, folder: Path, text: Windows, width: int, context: Context
    ) -> tuple[Teacher, int]:
        """Return the teacher, and how many windows it predicted for the disk."""
        if not self.top_k or self.hidden_states:
            return LiveTeacher(folder, width), 0
        place = (context.shared or context.scratch) / "teachers"
        return kept_teacher(
            folder, place, text, self.top_k, self.temperature, width, context.progress
        )

    def _loss(self, teacher: Teacher, width: int) -> Callable[[Any, Mapping[str, Any]], Any]:
        def loss_of(model: Any, batch: Mapping[str, Any]) -> Any:
            ids, weight = batch["input_ids"], self.hidden_states
            with autocast():
                ours = model(input_ids=ids, use_cache=False, output_hidden_states=weight > 0)
            loss = distillation_loss(
                ours.logits[..., :width],
                teacher.training(batch),
                batch["labels"],
                self.temperature,
                self.alpha,
            )
            if weight and isinstance(teacher, LiveTeacher):
                theirs = teacher.hidden_states(ids)
                loss = loss + weight * hidden_distance(ours.hidden_states, theirs)
            return loss

        return loss_of

    def _teacher(self) -> Path:
        """Return the folder of the teacher that is named."""
        if self.teacher.startswith("hub:") and not parse(self.teacher).pinned:
            raise UsageError(
                "a teacher on the hub is named with the commit, so that it is the same everywhere",
                place=self.teacher,
                cure="write hub:org/name@ and the 40 digits of the commit",
            )
        found = resolve(self.teacher)
        if found.format != "hf":
            raise UsageError(f"a teacher is an hf folder, not {found.format}", place=self.teacher)
        return found.path


def validation(teacher: Teacher, text: Windows, width: int) -> Callable[[Any], dict[str, float]]:
    """Return what tells a student's divergence from the teacher on held-out windows, and its loss.

    `loss` (what early stopping looks at) and `kl`: mean KL(teacher || student); `nll`: mean
    cross-entropy; all in nats per token.
    """

    def validate(student: Any) -> dict[str, float]:
        import torch

        target = torch.from_numpy(labels(text.held_out))
        kl = nll = 0.0
        tokens = 0
        with torch.no_grad(), autocast():
            for index, row in enumerate(torch.from_numpy(text.held_out.ids)):
                ids = row[None].to(device())
                ours = student(input_ids=ids, use_cache=False).logits[..., :width]
                theirs = teacher.held_out(index, ids)
                sums = divergence(ours, theirs, target[index][None].to(ids.device))
                kl, nll, tokens = kl + sums[0], nll + sums[1], tokens + sums[2]
        return {"loss": kl / tokens, "kl": kl / tokens, "nll": nll / tokens}

    return validate


def hidden_distance(ours: Any, theirs: Any) -> Any:
    """Return the mean cosine distance of the student's layer outputs from the teacher's.

    ours, theirs: outputs of the embedding and of each layer, [windows, length, width] each. A layer
    of the student is compared with the one at the same share of the teacher's depth.
    """
    from torch.nn.functional import cosine_similarity

    if ours[0].shape[-1] != theirs[0].shape[-1]:
        raise UsageError(
            f"hidden states are {ours[0].shape[-1]} wide in the student and "
            f"{theirs[0].shape[-1]} in the teacher",
            cure="take hidden_states=0, or a student of the teacher's width",
        )
    layers, depth = len(ours) - 1, len(theirs) - 1
    pairs = [(ours[i], theirs[round(i * depth / layers)]) for i in range(1, layers + 1)]
    distances = [1 - cosine_similarity(a.float(), b.float(), dim=-1).mean() for a, b in pairs]
    return sum(distances) / layers
