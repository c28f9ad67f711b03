"""transformers' Trainer: offline, quiet, with a loss of our own that stops at no number."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from weightcut.compression.method import Context
from weightcut.compression.training import TrainingSettings, has_bfloat16, labels, peak_rss
from weightcut.errors import BrokenInput, UsageError
from weightcut.records import TokenBlocks

Loss = Callable[[Any, Mapping[str, Any]], Any]
Validate = Callable[[Any], Mapping[str, float]]


def make_trainer(
    model: Any,
    blocks: TokenBlocks,
    loss_of: Loss,
    validate: Validate,
    settings: TrainingSettings,
    context: Context,
    optimizer: str,
) -> Any:
    """Return a Trainer whose loss and validation are the two given functions."""
    import torch
    from transformers import PrinterCallback, Trainer

    class GivenLoss(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            loss = loss_of(model, inputs)
            value = float(loss.detach())
            if not math.isfinite(value):
                name = first_bad_tensor(self.model, inputs["input_ids"])
                raise _bad(f"the loss is {value}", self.state.global_step, name)
            return loss

        def _clip_grad_norm(self, model: Any) -> Any:
            if self.is_deepspeed_enabled:  # which clips in its own step
                return super()._clip_grad_norm(model)
            named = [(n, p) for n, p in self.model.named_parameters() if p.grad is not None]
            weights = [p for _, p in named]
            norm = torch.nn.utils.get_total_norm([p.grad for p in weights])
            if not math.isfinite(float(norm)):
                bad = next(n for n, p in named if not bool(p.grad.isfinite().all()))
                raise _bad(
                    "the gradient is not finite", self.state.global_step, f"gradient of {bad}"
                )
            torch.nn.utils.clip_grads_with_norm_(weights, self.args.max_grad_norm, norm)
            return norm

        def figures(self) -> Mapping[str, float]:
            self.model.eval()
            found = validate(self.model_wrapped if self.is_deepspeed_enabled else self.model)
            self.model.train()
            return found

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            figures = {f"eval_{key}": value for key, value in self.figures().items()}
            self.log(figures)
            self.control: Any = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, figures
            )
            return figures

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            if "loss" in logs:
                logs |= watch.figures()
            super().log(logs, start_time)

        def validated(self, taken_back: bool) -> dict[str, float]:
            """Return the figures of the weights that are kept, measured anew where need be."""
            if taken_back:
                return dict(self.figures())
            told = [entry for entry in self.state.log_history if "eval_loss" in entry]
            if not told or told[-1]["step"] != self.state.global_step:
                told.append(self.evaluate())
            kept = {key: value for key, value in told[-1].items() if key.startswith("eval_")}
            return {key.removeprefix("eval_"): value for key, value in kept.items()}

        def gathered(self) -> dict[str, Any] | None:
            if not self.is_deepspeed_enabled:
                return None
            from transformers.integrations.deepspeed import unset_hf_deepspeed_config

            found: dict[str, Any] = self.accelerator.get_state_dict(self.model_wrapped)
            unset_hf_deepspeed_config()  # or models loaded later would be shared out as well
            return found

    arguments = _arguments(settings, context, optimizer)
    watch = _watch(settings.batch_size * blocks.ids.shape[1], context.progress)
    rows = _rows(blocks, context.seed)
    trainer = GivenLoss(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, callbacks=[watch]
    )
    trainer.remove_callback(PrinterCallback)
    if settings.patience:
        trainer.add_callback(_early_stop(settings.patience))
    trainer.model_accepts_loss_kwargs = False
    return trainer


def first_bad_tensor(model: Any, ids: Any) -> str:
    """Return the name of the first tensor that is not finite: a weight, else a module's output.

    Modules are looked at in the order in which they run on `ids`.
    """
    import torch

    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(weight.detach().isfinite().all()):
            return str(name)
    found: list[str] = []

    def look(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) and output else output
            bad = isinstance(tensor, torch.Tensor) and not bool(tensor.isfinite().all())
            if bad and not found:
                found.append(f"output of {name or 'the model'}")

        return hook

    leaves = [(n, m) for n, m in model.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(look(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else "the loss itself"


def _bad(what: str, step: int, tensor: str) -> BrokenInput:
    return BrokenInput(
        f"{what} at step {step + 1}; the first bad tensor is {tensor}",
        cure="lower learning_rate or raise warmup, and look for NaN in the weights",
    )


def _rows(blocks: TokenBlocks, seed: int) -> Any:
    """Return the windows as a dataset; neighbours in a text do not share a batch."""
    import torch

    target = labels(blocks)
    order = np.random.default_rng(seed).permutation(len(blocks.ids))

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(blocks.ids)

        def __getitem__(self, place: int) -> dict[str, Any]:
            index = int(order[place])
            return {
                "input_ids": torch.from_numpy(blocks.ids[index]),
                "labels": torch.from_numpy(target[index]),
                "index": torch.tensor(index),
            }

    return Rows()


def _watch(tokens: int, progress: Callable[[str, float | None], None]) -> Any:
    """Return the callback that tells how far training is and times each step.

    tokens: those of a step.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds = self.took = self.begun = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            told = [entry["seconds"] for entry in state.log_history if "seconds" in entry]
            self.seconds = told[-1] if told else 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            self.begun = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.took = time.perf_counter() - self.begun
            self.seconds += self.took
            # The last checkpoint is worth its time only where an earlier one may be taken back.
            if state.global_step >= state.max_steps and not args.load_best_model_at_end:
                control.should_save = False
            at, last = state.global_step, state.max_steps
            progress(f"step {at} of {last}", at / last)

        def figures(self) -> dict[str, float]:
            return {
                "seconds": self.seconds,
                "tokens": tokens,
                "tokens_per_s": tokens / self.took,
                "peak_rss_bytes": peak_rss(),
            }

    return Watch()


def _early_stop(patience: int) -> Any:
    """Return the callback that stops after so many validations in a row without a better one."""
    from transformers import EarlyStoppingCallback

    class Resumed(EarlyStoppingCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            super().on_train_begin(args, state, control, **more)
            best = math.inf
            for loss in (one["eval_loss"] for one in state.log_history if "eval_loss" in one):
                worse = loss >= best
                self.early_stopping_patience_counter *= worse
                self.early_stopping_patience_counter += worse
                best = min(best, loss)

    return Resumed(patience)


def _arguments(settings: TrainingSettings, context: Context, optimizer: str) -> Any:
    import torch
    from transformers import TrainingArguments

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_size % processes:
        raise UsageError(
            f"{settings.batch_size} windows a step cannot be shared out to {processes} processes",
            cure=f"take a batch_size that {processes} divides",
        )
    spread = os.environ.get("ACCELERATE_USE_DEEPSPEED", "") == "true"
    arguments = TrainingArguments(
        output_dir=str(context.scratch),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size // processes,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(settings.warmup, settings.steps - 1),
        optim=optimizer,
        weight_decay=0.0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=settings.eval_every,
        save_strategy="steps",
        save_steps=settings.eval_every,
        save_total_limit=1,
        load_best_model_at_end=bool(settings.patience),
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        seed=context.seed,
        report_to="none",
        disable_tqdm=True,
        # DeepSpeed keeps its own float32 weights; elsewhere the losses' own autocast is cheaper.
        bf16=spread and has_bfloat16(),
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
    )
    plugin = getattr(arguments, "deepspeed_plugin", None)
    if plugin is not None and not torch.cuda.is_available():
        # torch's own AdamW: DeepSpeed's for the CPU would be compiled on first use.
        plugin.deepspeed_config["zero_force_ds_cpu_optimizer"] = False
    return arguments
