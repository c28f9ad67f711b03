"""Whether a written model predicts what the one in memory did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weightcut.compression.hf_io import load_causal_lm
from weightcut.errors import BrokenInput, NotHere

# Nats per token between the measured and the written model: rounding, not another model.
MAX_READ_BACK_KL = 1e-3


def predictions(model: Any, ids: Any) -> Any:
    """Return the model's natural-log probabilities [length, vocabulary] for one window."""
    import torch

    with torch.inference_mode():
        return model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)


def refuse_if_changed(folder: Path, ids: Any, expected: Any, kind: str, cure: str) -> None:
    """Refuse (NotHere) a written model that does not predict what the measured one did.

    It catches families whose layers behave in a way that a config cannot tell. ids: one window.
    expected: the measured model's log probabilities for it. kind: the family's name.
    """
    import torch

    try:
        found = predictions(load_causal_lm(folder), ids)
    except BrokenInput as error:
        raise NotHere(
            f"the config of a {kind} model cannot tell what was left: {error.cause}", cure=cure
        ) from error
    gap = torch.nn.functional.kl_div(found, expected, log_target=True, reduction="batchmean")
    if not float(gap) <= MAX_READ_BACK_KL:
        raise NotHere(
            f"a pruned {kind} model does not read back as it was measured: KL divergence "
            f"{float(gap):.2g} nats per token, limit {MAX_READ_BACK_KL:g}",
            cure=cure,
        )
