"""Distillation: a smaller model learns to predict what the larger one predicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from weightcut.compression.distillation_loss import distillation_loss, divergence
from weightcut.compression.files import bytes_by_part
from weightcut.compression.hf_io import load_causal_lm, save_causal_lm
from weightcut.compression.method import Context, Requirements
from weightcut.compression.training import Schedule, autocast, has_bfloat16, train
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.digest import folder_digest
from weightcut.records import Format, Record


class Distill(Record):
    """Train the model to match a teacher's next-token distributions on training text.

    The loss is the forward KL divergence at a temperature, mixed with the label loss (Hinton 2015,
    arXiv:1503.02531). After pruning it is the retraining that gives most of the loss back, from
    the unpruned model as the teacher (Minitron, arXiv:2407.14679: KL on logits alone, no labels).
    Weights are trained in float32 with bfloat16 arithmetic and stored in the type they came in.
    The teacher runs beside the student: every window is seen once, so caching its logits would
    save nothing.
    """

    kind: Literal["distill"] = "distill"
    steps: int = Field(50, ge=1, description="optimizer steps")
    batch_size: int = Field(2, ge=1, description="windows per step")
    length: int = Field(256, ge=2, description="tokens per window")
    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate of AdamW")
    warmup: int = Field(10, ge=0, description="steps of linear warm-up; a cosine to 0 follows")
    temperature: float = Field(
        1.0, gt=0, description="softens both distributions; 1 is as they are"
    )
    alpha: float = Field(
        0.0, ge=0, le=1, description="share of the label loss; 0 imitates the teacher alone"
    )
    teacher: str = Field(
        "", description="folder of the teacher; empty: the model that the recipe started from"
    )
    validation_windows: int = Field(8, ge=1, description="held-out windows, of `length` tokens")
    eval_every: int = Field(50, ge=1, description="steps between validations and checkpoints")
    patience: int = Field(
        0, ge=0, description="validations without improvement before it stops; 0: never"
    )

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

    def compress(self, source: Path, out: Path, context: Context) -> None:
        """Train a copy of the model in `source` and write it to `out`."""
        import torch

        folder = Path(self.teacher).expanduser() if self.teacher else context.origin
        require_same_tokenizer(source, folder)
        blocks = context.texts("training", self.steps * self.batch_size, self.length)
        windows = shuffled(blocks.ids, context.seed)
        held_out = context.texts("validation", self.validation_windows, self.length)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        teacher = load_causal_lm(folder).requires_grad_(False).to(device)
        student = load_causal_lm(source)
        stored = student.dtype
        student = student.to(device, torch.float32)

        def loss_of(model: Any, ids: Any) -> Any:
            ours, theirs = _logits(model, teacher, ids)
            return distillation_loss(ours, theirs, ids, self.temperature, self.alpha)

        def validate(model: Any) -> Mapping[str, float]:
            return validation(model.eval(), teacher, torch.from_numpy(held_out.ids))

        before = validate(student)
        record = train(
            student,
            torch.from_numpy(windows),
            loss_of,
            validate,
            self._schedule(context.seed),
            context.scratch,
            context.progress,
        )
        after = validate(student)
        save_causal_lm(student.to("cpu", stored), source, out)
        context.record.update(
            record,
            validation_before=before,
            validation_after=after,
            precision="bfloat16 on float32 weights" if has_bfloat16() else "float32",
            teacher=folder_digest(folder),
            teacher_parameters=sum(p.numel() for p in teacher.parameters()),
            text={
                "source": blocks.source,
                "digest": blocks.digest,
                "tokens": int(blocks.ids.size),
            },
            bytes_by_part=bytes_by_part(out),
        )

    def _schedule(self, seed: int) -> Schedule:
        return Schedule(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=min(self.warmup, self.steps - 1),
            eval_every=self.eval_every,
            patience=self.patience,
            seed=seed,
        )


def validation(student: Any, teacher: Any, windows: Any) -> dict[str, float]:
    """Return the student's divergence from the teacher and its own loss on held-out windows.

    `loss` (what early stopping looks at) and `kl`: mean KL(teacher || student); `nll`: mean
    cross-entropy; all in nats per token.
    """
    import torch

    kl = nll = 0.0
    tokens = 0
    with torch.inference_mode():
        for row in windows:
            ids = row[None].to(student.device)
            sums = divergence(*_logits(student, teacher, ids), ids)
            kl, nll, tokens = kl + sums[0], nll + sums[1], tokens + sums[2]
    return {"loss": kl / tokens, "kl": kl / tokens, "nll": nll / tokens}


def require_same_tokenizer(student: Path, teacher: Path) -> None:
    """Refuse a teacher whose token ids mean other texts than the student's (UsageError)."""
    ours, theirs = (_vocabulary(folder) for folder in (student, teacher))
    if ours != theirs:
        raise UsageError(
            "teacher and student have different tokenizers: "
            f"{len(theirs)} and {len(ours)} entries, {len(ours.items() & theirs.items())} shared",
            place=str(teacher),
            cure="take a teacher of the same family",
        )


def shuffled(windows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Return the windows in a random order, so that neighbours in a text do not share a batch."""
    return windows[np.random.default_rng(seed).permutation(len(windows))]


def _logits(student: Any, teacher: Any, ids: Any) -> tuple[Any, Any]:
    """Return both models' logits over the ids they share (tables may be padded differently)."""
    import torch

    with torch.no_grad():
        theirs = teacher(input_ids=ids, use_cache=False).logits
    with autocast():
        ours = student(input_ids=ids, use_cache=False).logits
    size = min(ours.shape[-1], theirs.shape[-1])
    return ours[..., :size], theirs[..., :size]


def _vocabulary(folder: Path) -> dict[str, int]:
    """Return every token of tokenizer.json with its id, special ones included."""
    path = folder / "tokenizer.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        table = data["model"]["vocab"]
        pairs = (
            table.items() if isinstance(table, dict) else ((t, i) for i, (t, _) in enumerate(table))
        )
        return {**dict(pairs), **{t["content"]: t["id"] for t in data.get("added_tokens", [])}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenInput(f"cannot be read as a tokenizer: {error}", place=str(path)) from error
