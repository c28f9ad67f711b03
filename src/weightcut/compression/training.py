"""Train a model with transformers' Trainer: offline, quiet, resumable, stopped by bad losses."""

from __future__ import annotations

import json
import math
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightcut.compression.hf_io import quiet_transformers
from weightcut.errors import BrokenInput

# What a complete checkpoint holds; the state comes last, so a killed save lacks it.
_CHECKPOINT = ("optimizer.pt", "scheduler.pt", "trainer_state.json")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    batch_size: windows per step. warmup: steps of linear rise to the peak learning rate, which
    then falls along a cosine to 0. eval_every: steps between validations and checkpoints.
    patience: validations without improvement before it stops and takes the best; 0 never stops.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    eval_every: int
    patience: int
    seed: int


def train(
    model: Any,
    windows: Any,
    loss_of: Callable[[Any, Any], Any],
    validate: Callable[[Any], Mapping[str, float]],
    schedule: Schedule,
    scratch: Path,
    progress: Callable[[str, float | None], None],
) -> dict[str, Any]:
    """Train `model` in place on `windows` (int64 [count, length]) and return the record of it.

    loss_of: (model, ids) to the scalar loss of a batch. validate: model to figures, `loss` among
    them. Each window is seen once, in the order given. A run that was killed goes on from its last
    complete checkpoint in `scratch` and has the losses that it would have had. A loss that is no
    finite number stops it: BrokenInput names the step.
    """
    with quiet_transformers():
        trainer = _trainer(model, windows, loss_of, validate, schedule, scratch, progress)
        resume = last_checkpoint(scratch)
        begun = time.monotonic()
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    seconds = time.monotonic() - begun
    history = trainer.state.log_history
    resumed_at = int(resume.name.rpartition("-")[2]) if resume else 0
    trained = (trainer.state.global_step - resumed_at) * schedule.batch_size * windows.shape[1]
    return {
        "loss_curve": [entry["loss"] for entry in history if "loss" in entry],
        "validation": [
            {key: value for key, value in entry.items() if key != "epoch"}
            for entry in history
            if "eval_loss" in entry
        ],
        "steps": trainer.state.global_step,
        "resumed_at_step": resumed_at,
        "seconds": seconds,
        "tokens_per_second": trained / seconds,
        "peak_rss_bytes": peak_rss(),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }


def last_checkpoint(scratch: Path) -> Path | None:
    """Return the newest complete checkpoint of a folder; incomplete ones are deleted."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        if _complete(path):
            return path
        shutil.rmtree(path)
    return None


def peak_rss() -> int:
    """Return the peak resident bytes of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def autocast() -> Any:
    """Return the context in which forward passes run: bfloat16 where the processor has it.

    The weights and the optimizer stay in float32: at the learning rates of fine-tuning, updates
    are smaller than bfloat16's spacing and would vanish.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=has_bfloat16())


def has_bfloat16() -> bool:
    """Return whether this machine multiplies bfloat16 matrices in hardware."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _complete(path: Path) -> bool:
    if not all((path / name).is_file() for name in _CHECKPOINT):
        return False
    try:
        json.loads((path / _CHECKPOINT[-1]).read_text())
    except ValueError:
        return False
    return True


def _trainer(
    model: Any,
    windows: Any,
    loss_of: Callable[[Any, Any], Any],
    validate: Callable[[Any], Mapping[str, float]],
    schedule: Schedule,
    scratch: Path,
    progress: Callable[[str, float | None], None],
) -> Any:
    """Return a Trainer whose loss and validation are the two given functions."""
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback

    class Windows(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(windows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"input_ids": windows[index]}

    class Progress(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            progress(
                f"step {state.global_step} of {state.max_steps}",
                state.global_step / state.max_steps,
            )

    class GivenLoss(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            loss = loss_of(model, inputs["input_ids"])
            if not math.isfinite(float(loss.detach())):
                raise BrokenInput(
                    f"the loss is {float(loss.detach())} at step {self.state.global_step + 1}",
                    cure="lower learning_rate, and look for NaN in the weights",
                )
            return loss

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            figures = {f"eval_{key}": value for key, value in validate(self.model).items()}
            self.model.train()
            self.log(figures)
            self.control: Any = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, figures
            )
            return figures

    trainer = GivenLoss(
        model=model,
        args=_arguments(schedule, scratch),
        train_dataset=Windows(),
        eval_dataset=Windows(),
        callbacks=[Progress()],
    )
    trainer.remove_callback(PrinterCallback)
    if schedule.patience:
        trainer.add_callback(EarlyStoppingCallback(schedule.patience))
    trainer.model_accepts_loss_kwargs = False
    return trainer


def _arguments(schedule: Schedule, scratch: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(scratch),
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=schedule.warmup,
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=schedule.eval_every,
        save_strategy="steps",
        save_steps=schedule.eval_every,
        save_total_limit=1,
        load_best_model_at_end=bool(schedule.patience),
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        seed=schedule.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
    )
