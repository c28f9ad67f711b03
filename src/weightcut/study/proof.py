"""A conversion proves itself: the new artifact's predictions against those of its source."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np

from weightcut import registry
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.engines.engine import Engine
from weightcut.errors import BrokenInput
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Format, Proof, Step, TokenBlocks

KL_LIMIT = 5e-3  # nats per token; a 16-bit conversion that is right stays below 1e-3
WINDOWS = 4
LENGTH = 256
LONGEST = 4_608  # a sliding window of 4,096, as the widest in use, and what lies beyond it
_ROWS = 64


def prove(source: Artifact, made: Artifact, step: Step) -> Proof:
    """Compare two artifacts on a few windows; a KL above KL_LIMIT refuses the new one.

    Both are opened by the engine of their format at its most exact settings, so that only the
    conversion is judged. KL(source || made) in nats, the mean over positions.
    """
    blocks = _windows(source)
    kl, agree, tokens = 0.0, 0, 0
    with (
        _reference_engine(source.format).open(source) as old,
        _reference_engine(made.format).open(made) as new,
    ):
        pairs = zip(old.token_logprobs(blocks), new.token_logprobs(blocks), strict=True)
        for before, after in pairs:
            p, q = before.values, after.values
            width = min(p.shape[1], q.shape[1])  # some exporters pad the vocabulary
            p, q = p[:, :width], q[:, :width]
            for at in range(0, len(p), _ROWS):  # arrays of all rows would need much memory
                one, other = p[at : at + _ROWS], q[at : at + _ROWS]
                kl += float(np.sum(np.exp(one) * (one - other), dtype=np.float64))
                agree += int(np.sum(one.argmax(axis=1) == other.argmax(axis=1)))
            tokens += p.shape[0]
    if not np.isfinite(kl):
        raise BrokenInput(
            f"{step.label()}: the predictions before or after it are not all finite numbers",
            cure="get the model again; weights with NaN or infinite values can only give such",
        )
    proof = Proof(
        kl=max(0.0, kl / tokens),
        top1=agree / tokens,
        windows=len(blocks.ids),
        tokens=tokens,
        limit=KL_LIMIT,
    )
    if not proof.kl <= KL_LIMIT:
        raise BrokenInput(
            f"{step.label()} changed the model's predictions: KL {kl / tokens:.3g} nats per token "
            f"over {tokens} tokens, at most {KL_LIMIT:g} is accepted "
            f"(same best token at {proof.top1:.1%})",
            cure="this architecture is not converted rightly here; use the transformers engine",
        )
    return proof


def _windows(source: Artifact) -> TokenBlocks:
    tokenizer = load_tokenizer(source.path)
    pages = (document.text for document in documents("calibration"))
    length = _length(source)
    return token_blocks(pages, tokenizer, WINDOWS * LENGTH // length or 1, length, source="proof")


def _length(source: Artifact) -> int:
    """Return tokens per window: beyond a sliding window, where a wrong mask shows first."""
    path = source.path / "config.json"
    if not path.is_file():
        return LENGTH
    config = json.loads(path.read_text())
    config = config.get("text_config", config)
    window = _sliding_window(config)
    context = config.get("max_position_embeddings") or config.get("n_positions") or LONGEST
    return int(min(LONGEST, context, max(LENGTH, window + 128)))


def _sliding_window(config: dict[str, Any]) -> int:
    """Return the sliding window that some layer really has, 0 where none has one."""
    kinds = config.get("layer_types")
    if not config.get("use_sliding_window", True):
        return 0
    if kinds and all(kind == "full_attention" for kind in kinds):
        return 0
    return int(config.get("sliding_window") or 0)


def _reference_engine(wanted: Format) -> Engine:
    for name in registry.names("engine"):
        engine = registry.load("engine", name)
        if wanted in engine.accepts and not getattr(engine, "gpu", False):
            return cast("Engine", engine.model_validate({"kind": name, **engine.exact}))
    raise BrokenInput(f"no engine opens the format {wanted!r}, so the conversion cannot be proven")
