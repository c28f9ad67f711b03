"""Scalings that move range from activations to weights must not change a model: prove it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from weightcut.compression.method import Context
from weightcut.errors import NotHere
from weightcut.records import TokenBlocks

MAX_KL = 0.01  # nats per token: rounding in bfloat16 is below it, a wrong mapping far above
_CURE = "gptq, rtn and bnb-nf4 need not know how a family's layers follow each other"


@contextmanager
def proven(model: Any, blocks: TokenBlocks, context: Context) -> Iterator[None]:
    """Compare the predictions before and after the body, which scales `model` in place.

    Quantization is left out of the comparison. NotHere where the divergence on the first window
    is above MAX_KL: the library took one layer for another, as happens with families that feed a
    norm's output to more layers than it knows.
    """
    from llmcompressor.utils import DisableQuantization

    before = _log_probabilities(model, blocks)
    yield
    with DisableQuantization(model):
        after = _log_probabilities(model, blocks)
    kl = float((before.exp() * (before - after)).sum(-1).mean())
    context.record["scaling_kl"] = max(0.0, kl)
    if not kl <= MAX_KL:
        raise NotHere(
            f"llmcompressor's scaling changes what a {model.config.model_type} model predicts: KL "
            f"divergence {kl:.2g} nats per token before any rounding, at most {MAX_KL:g} is taken",
            cure=_CURE,
        )


def norm_mappings(model: Any) -> list[tuple[list[str], str]]:
    """Return which linear layers follow which norm, in SmoothQuant's form.

    They are those known for AWQ: the table for SmoothQuant has the wrong norm for Gemma 2 and 3.
    """
    from llmcompressor.modifiers.transform.awq.dynamic_mappings import (
        get_layer_mappings_from_model,
    )

    found = [
        (list(mapping.balance_layers), str(mapping.smooth_layer))
        for mapping in get_layer_mappings_from_model(model)
        if "norm" in str(mapping.smooth_layer)
    ]
    if not found:
        raise NotHere(
            f"it is not known which norms can be scaled in a {model.config.model_type} model",
            cure=_CURE,
        )
    return found


def _log_probabilities(model: Any, blocks: TokenBlocks) -> Any:
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(blocks.ids[:1]), use_cache=False).logits[0]
        return logits.float().log_softmax(-1)
