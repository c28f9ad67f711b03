"""What the methods that train share: their settings, the training itself and its record."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from weightcut.compression.hf_io import quiet_transformers
from weightcut.compression.method import Context
from weightcut.errors import UsageError
from weightcut.records import Record, TextSource, TokenBlocks

# What a complete checkpoint ends with; a killed save lacks it. What holds the optimizer's state
# differs: one file, or DeepSpeed's folder with a part for each process.
_STATE = "trainer_state.json"
_OPTIMIZER = ("optimizer.pt", "global_step*")
IGNORED = -100


class TrainingSettings(Record):
    """How long, how fast and on what text a model is trained.

    The text is the standard library's own source (modules that nothing is measured on), a text or
    table of the user's own, or a data set of the hub.
    """

    steps: int = Field(50, ge=1, description="optimizer steps")
    batch_size: int = Field(2, ge=1, description="windows per step, over all processes")
    length: int = Field(256, ge=2, description="tokens per window")
    learning_rate: float = Field(3e-4, gt=0, description="peak learning rate of AdamW")
    warmup: int = Field(10, ge=0, description="steps of linear warm-up; a cosine to 0 follows")
    validation_windows: int = Field(8, ge=1, description="held-out windows, of `length` tokens")
    eval_every: int = Field(50, ge=1, description="steps between validations and checkpoints")
    patience: int = Field(
        0, ge=0, description="validations without improvement before it stops; 0: never"
    )
    data: str = Field(
        "", description="text, .jsonl or .parquet file, folder, or hub:org/name@COMMIT to train on;"
        " empty: the standard library's source"
    )  # fmt: skip
    text_column: str = Field("", description="column of `data` with the texts")
    instruction_column: str = Field("", description="column of `data` with what is asked")
    answer_column: str = Field("", description="column of `data` with the answers, learnt alone")
    leave_out_overlap: bool = Field(
        False,
        description="leave out texts that share a passage with an evaluation text, not refuse",
    )

    def text_source(self) -> TextSource | None:
        """Return the user's text that is trained on, None for the embedded one."""
        if not self.data:
            return None
        return TextSource(
            reference=self.data,
            text=self.text_column,
            instruction=self.instruction_column,
            answer=self.answer_column,
            overlap="leave-out" if self.leave_out_overlap else "refuse",
        )

    def reads(self) -> dict[str, str]:
        """Return digests of all other things read: nothing."""
        return {}


@dataclass(frozen=True)
class Windows:
    """The text of one training: windows in the order of the text, and held-out ones."""

    training: TokenBlocks
    held_out: TokenBlocks


@dataclass(frozen=True)
class Trained:
    """What training leaves beside the model: its record, and the weights where they are spread.

    weights: the trained weights by name where several processes share them, else None: then they
    are in the model. main: whether this process is the one that writes.
    """

    record: dict[str, Any]
    weights: dict[str, Any] | None
    main: bool


def windows(settings: TrainingSettings, context: Context) -> Windows:
    """Return the text that these settings train on: a window for each step and place in a batch."""
    source = settings.text_source()
    more = () if source is None else (source,)
    count = settings.steps * settings.batch_size
    return Windows(
        context.texts("training", count, settings.length, *more),
        context.texts("validation", settings.validation_windows, settings.length, *more),
    )


def train(
    model: Any,
    text: Windows,
    loss_of: Callable[[Any, Mapping[str, Any]], Any],
    validate: Callable[[Any], Mapping[str, float]],
    settings: TrainingSettings,
    context: Context,
    optimizer: str = "adamw_torch_fused",
) -> Trained:
    """Train `model` in place and return the record of it.

    loss_of: (model, batch) to the batch's scalar loss; a batch has `input_ids` and `labels` (int64
    [windows, length], labels -100 where no loss counts) and `index`, the windows' places.
    validate: model to figures, `loss` among them. optimizer: a name that transformers' Trainer
    knows. Each window is seen once, in an order that the seed decides. A run that was killed goes
    on from its last complete checkpoint in `context.scratch` and has the losses that it would have
    had. A loss or gradient that is no finite number stops it: BrokenInput names the step and the
    first bad tensor.
    """
    from weightcut.compression.trainer import make_trainer

    with quiet_transformers():
        trainer = make_trainer(
            model, text.training, loss_of, validate, settings, context, optimizer
        )
        resume = last_checkpoint(context.scratch)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        after = trainer.validated(bool(settings.patience))
        weights = trainer.gathered()
    resumed_at = int(resume.name.rpartition("-")[2]) if resume else 0
    curve = curve_of(trainer.state.log_history)
    seconds = curve[-1]["seconds"]
    tokens = sum(point.pop("tokens") for point in curve)
    record = {
        "curve": curve,
        "validation": [
            {key: value for key, value in entry.items() if key != "epoch"}
            for entry in trainer.state.log_history
            if "eval_loss" in entry
        ],
        "validation_after": after,
        "steps": trainer.state.global_step,
        "stopped": stopped(trainer.state, settings.patience),
        "resumed_at_step": resumed_at,
        "processes": trainer.args.world_size,
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_s": tokens / seconds,
        "peak_rss_bytes": peak_rss(),
        "trainable_parameters": sum(_size(p) for p in model.parameters() if p.requires_grad),
        "total_parameters": sum(_size(p) for p in model.parameters()),
        "text": told(text),
    }
    return Trained(record, weights, trainer.is_world_process_zero())


def curve_of(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a point for each step of a trainer's history, with the held-out loss where measured.

    A point has step, loss, held_out_loss (or None), learning_rate, tokens_per_s, seconds (since
    the beginning, those before a kill included), peak_rss_bytes and tokens.
    """
    held_out = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    kept = ("step", "loss", "learning_rate", "tokens_per_s", "seconds", "peak_rss_bytes", "tokens")
    return [
        {key: entry[key] for key in kept} | {"held_out_loss": held_out.get(entry["step"])}
        for entry in history
        if "loss" in entry
    ]


def stopped(state: Any, patience: int) -> str:
    """Return why training ended, in words."""
    if state.global_step >= state.max_steps:
        kept = f"; the weights of step {state.best_global_step} are kept" if patience else ""
        return f"all {state.max_steps} steps were done{kept}"
    return (
        f"the held-out loss had not fallen for {patience} validations; "
        f"the weights of step {state.best_global_step} are kept"
    )


def told(text: Windows) -> dict[str, Any]:
    """Return what a record says of the text."""
    found: dict[str, Any] = {
        "source": text.training.source,
        "digest": text.training.digest,
        "tokens": int(text.training.ids.size),
        "held_out": text.held_out.digest,
    }
    if text.training.scored is not None:
        found["learnt_tokens"] = int(text.training.scored.sum())
    return found


def labels(blocks: TokenBlocks) -> Any:
    """Return the ids as labels, -100 where a loss does not count them."""
    if blocks.scored is None:
        return blocks.ids
    if not blocks.scored[:, 1:].any():
        raise UsageError(
            "no token of the training windows is to be learnt: every window is cut out of an "
            "instruction",
            place=blocks.source,
            cure="take longer windows",
        )
    return np.where(blocks.scored, blocks.ids, IGNORED)


def last_checkpoint(scratch: Path) -> Path | None:
    """Return the newest complete checkpoint of a folder; incomplete ones are deleted."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for path in reversed(found):
        if complete(path):
            return path
        shutil.rmtree(path, ignore_errors=True)
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


def device() -> str:
    """Return where this process trains: its own GPU where there are some, else the CPU."""
    import os

    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _size(parameter: Any) -> int:
    """Return the weights of a parameter, those that other processes hold or 4 bits pack included.

    Two 4-bit weights share a byte.
    """
    spread = int(getattr(parameter, "ds_numel", 0)) or int(parameter.numel())
    quantized = getattr(parameter, "quant_state", None)
    return spread if quantized is None else int(np.prod(quantized.shape))


def complete(path: Path) -> bool:
    """Return whether a checkpoint was written to its end."""
    try:
        json.loads((path / _STATE).read_text())
    except (OSError, ValueError):
        return False
    return any(any(path.glob(pattern)) for pattern in _OPTIMIZER)
