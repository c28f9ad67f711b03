"""What LoRA and QLoRA share: adapters put in by peft, trained, merged or kept beside their base."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from weightcut.compression import accelerate_launch
from weightcut.compression.distillation_loss import label_loss, likelihood
from weightcut.compression.files import bytes_by_part, copy_companions
from weightcut.compression.hf_io import load_causal_lm, quiet_transformers, save_causal_lm
from weightcut.compression.hf_source import check_source, linear_layers
from weightcut.compression.method import Context
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
from weightcut.errors import UsageError, nearest
from weightcut.records import Format

BASE = "base"
"""The folder with the base model inside a folder with an adapter."""
_WEIGHTS = "adapter_model.safetensors"


class AdapterSettings(TrainingSettings):
    """How large the adapters are, where they sit, and what becomes of them."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    produces: ClassVar[Format] = "hf"
    needs_calibration: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    bits: ClassVar[float | None] = None

    learning_rate: float = Field(2e-4, gt=0, description="peak learning rate of AdamW")
    rank: int = Field(16, ge=1, description="rank of the update of each layer")
    alpha: float = Field(
        0, ge=0, description="the update is scaled by alpha / rank; 0: twice the rank"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapters' inputs dropped")
    target_modules: str = Field(
        "all-linear", description="names of layers that get an adapter, with spaces between, as in"
        " 'q_proj v_proj'; all-linear: every linear layer but the head"
    )  # fmt: skip
    merge: bool = Field(True, description="add the update to the weights; false keeps the adapter")

    def produced(self) -> Format:
        """Return `hf`, or `peft` where the adapter is kept."""
        return "hf" if self.merge else "peft"


def adapt(
    settings: AdapterSettings,
    source: Path,
    out: Path,
    context: Context,
    load: Callable[[], Any],
    optimizer: str,
    write_base: Callable[[Path], None] | None = None,
) -> None:
    """Train adapters on the model that `load` gives and write the result to `out`.

    optimizer: a name that transformers' Trainer knows. write_base: writes what a kept adapter was
    trained on into a folder; None: the source as it is.
    """
    check_source(source)
    text = windows(settings, context)
    if accelerate_launch.wanted():
        accelerate_launch.run(settings, source, out, context, text)
        return
    model = with_adapters(load(), settings, source)
    validate = validation(text)
    before = validate(model)
    trained = train(model, text, loss_of, validate, settings, context, optimizer)
    context.record.update(
        trained.record,
        validation_before=before,
        rank=settings.rank,
        precision="bfloat16 on frozen weights" if has_bfloat16() else "float32",
    )
    if not trained.main:
        return
    adapter = out if not settings.merge else context.scratch / "adapter"
    save_adapter(model, adapter, trained.weights)
    del model
    if settings.merge:
        context.progress("merging", None)
        merged = merge(source, adapter)
        context.record["validation_merged"] = validate(merged.to(device()))
        save_causal_lm(merged.to("cpu"), source, out)
        shutil.rmtree(adapter)
        context.record["bytes_by_part"] = bytes_by_part(out)
        return
    base = out / BASE
    base.mkdir()
    (write_base or (lambda folder: _link(source, folder)))(base)
    copy_companions(source, out)
    parts = bytes_by_part(base)
    context.record["bytes_by_part"] = parts | {"adapter": (out / _WEIGHTS).stat().st_size}


def loss_of(model: Any, batch: Mapping[str, Any]) -> Any:
    """Return the mean cross-entropy of a batch's labels."""
    with autocast():
        logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return label_loss(logits, batch["labels"])


def validation(text: Windows) -> Callable[[Any], dict[str, float]]:
    """Return what tells a model's mean cross-entropy on the held-out windows, in nats per token."""

    def validate(model: Any) -> dict[str, float]:
        import torch

        target = torch.from_numpy(labels(text.held_out))
        nll, tokens = 0.0, 0
        _evaluating(model)
        with torch.no_grad(), autocast():
            for index, row in enumerate(torch.from_numpy(text.held_out.ids)):
                ids = row[None].to(device())
                logits = model(input_ids=ids, use_cache=False).logits
                found = likelihood(logits, target[index][None].to(ids.device))
                nll, tokens = nll + found[0], tokens + found[1]
        return {"loss": nll / tokens}

    return validate


def with_adapters(model: Any, settings: AdapterSettings, source: Path) -> Any:
    """Return the model with fresh adapters, which alone are trained."""
    import torch

    with quiet_transformers():
        from peft import LoraConfig, get_peft_model
        from transformers.pytorch_utils import Conv1D

    named = settings.target_modules.split()
    targets: str | list[str] = "all-linear" if named == ["all-linear"] else named
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or 2 * settings.rank,
        lora_dropout=settings.dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(0)  # of what the adapters begin with
    try:
        with quiet_transformers():
            return get_peft_model(model, config)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name in linear_layers(model)})
        raise UsageError(
            f"target_modules {settings.target_modules!r} fit no layer of the model; "
            + nearest(named[0] if named else "", names),
            place=str(source),
        ) from error


def save_adapter(model: Any, folder: Path, weights: Mapping[str, Any] | None) -> None:
    """Write the adapter in peft's form. weights: all of the model's, where processes share them."""
    folder.mkdir(exist_ok=True)
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def merge(source: Path, adapter: Path) -> Any:
    """Return the model of `source` with the adapter's update added, in the type it is stored in.

    The sum is made in float32: in bfloat16 most of a small update would be rounded away twice.
    """
    model = load_causal_lm(source)
    stored = model.dtype
    with quiet_transformers():
        from peft import PeftModel

        merged = PeftModel.from_pretrained(model.float(), adapter).merge_and_unload(safe_merge=True)
    return merged.to(stored).eval()


def _evaluating(model: Any) -> None:
    """Put the model into evaluation mode, but for its 4-bit layers.

    bitsandbytes repacks those on a CPU at their first forward for evaluation, and then they cannot
    be trained through.
    """
    model.eval()
    for module in model.modules():
        if hasattr(getattr(module, "weight", None), "quant_state"):
            module.training = True


def _link(source: Path, folder: Path) -> None:
    """Put the model into `folder`, its weights as second names of the same files where possible."""
    for file in source.glob("*.safetensors"):
        try:
            os.link(file.resolve(), folder / file.name)
        except OSError:  # another disk
            shutil.copyfile(file, folder / file.name)
    for file in (source / "config.json", *source.glob("*.safetensors.index.json")):
        shutil.copyfile(file, folder / file.name)
    copy_companions(source, folder)
