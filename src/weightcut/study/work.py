"""What a cell has to do, in units of this machine's speed and of the model's sizes.

Every function returns amounts by name: of time in seconds, what the work would take at the
machine's full speed; of memory in bytes. `costs.py` says how far each part is from that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from weightcut.compression.method import Requirements
from weightcut.engines.engine import CACHE_SHARE
from weightcut.hardware.speed import Speed
from weightcut.models.shape import Shape
from weightcut.profiling.load import WAVES
from weightcut.records import ProfileSpec

Amounts = Mapping[str, float]
_WIDE = 2  # bytes of a 16-bit number
_FLOAT = 4
_WATCHED = 1.5  # seconds that a profile watches the machine before and after, at least
_ROOM = 1.25  # of the longest, in buffers that others enter as some end
_ROUNDS = 2  # of each level of concurrency


class Asked(NamedTuple):
    """What an engine is asked for.

    prompts, tokens: tokens of all prompts and of all answers together. limit: tokens that an answer
    may have. longest: tokens of the longest sequence. scored: whether answers are scored beside.
    batches: how many sequences are answered in turn, and the longest of each; all at once without.
    """

    answers: int
    prompts: float
    tokens: float
    limit: int
    longest: int
    scored: bool = False
    batches: tuple[tuple[int, int], ...] = ()


class Weights(NamedTuple):
    """A model's weights in bytes, as they are stored and as they lie in memory at work."""

    stored: int
    resident: int


class Model(NamedTuple):
    """What an engine opens, and on how fast a machine."""

    shape: Shape
    weights: Weights
    speed: Speed
    room: float = math.inf  # bytes that are free where it is opened

    def slots(self, count: int, longest: int, most: int) -> int:
        """Return how many of `count` sequences are answered at a time: caches have their share."""
        free = max(0.0, self.room - self.weights.resident) * CACHE_SHARE
        row = _ROOM * longest * self.shape.cache * _WIDE
        return max(1, min(count, most, int(min(free / row, most)) if row else most))


def time_of_answers(asked: Asked, slots: int, model: Model) -> dict[str, float]:
    """Return the work of answering `slots` requests at a time, others entering as some end."""
    shape, at = model.shape, model.speed
    slots = model.slots(*max(_batches(asked)), slots)
    answers = max(1, asked.answers)
    mean = asked.tokens / answers
    # The last ones run to the limit while the batch empties.
    steps = asked.tokens / slots + max(0.0, asked.limit - mean)
    context = asked.prompts / answers + mean / 2
    return _opening(model) | {
        "prompts": 2.0 * shape.parameters * asked.prompts / at.gemm,
        "steps": steps * shape.layers * at.dispatch,
        "weights": steps * model.weights.resident / at.read,
        "tokens": 2.0 * shape.parameters * asked.tokens / at.gemm,
        "cache": asked.tokens * context * shape.cache * _WIDE / at.read,
        "logits": asked.tokens * shape.vocabulary * _FLOAT / at.read,
        "unpacking": (steps + asked.answers) * shape.inner * _WIDE / at.read,
        "answers": float(asked.answers),
    }


def time_of_windows(count: int, length: int, model: Model) -> dict[str, float]:
    """Return the work of predicting windows of text one by one, and of keeping the best tokens."""
    shape, at = model.shape, model.speed
    tokens = count * length
    return _opening(model) | {
        "prompts": 2.0 * shape.parameters * tokens / at.gemm,
        "windows": tokens * shape.vocabulary * _FLOAT / at.read,
        "unpacking": count * shape.inner * _WIDE / at.read,
    }


def time_of_profile(spec: ProfileSpec, prompt: float, slots: int, model: Model) -> dict[str, float]:
    """Return the work of timing: each prompt alone, then several at once, twice."""
    batches = [(1, spec.prompts + 1.0), *((n, float(_ROUNDS)) for n in spec.concurrency if n > 1)]
    if spec.load is not None:
        # At low rates requests are answered one by one; clients ask in waves.
        batches.append((1, float(spec.load.requests * len(spec.load.rates))))
        batches += [(n, max(spec.load.requests / n, WAVES)) for n in spec.load.clients]
    found = _opening(model) | {"watching": _WATCHED}
    for level, times in batches:
        asked = Asked(level, level * prompt, level * spec.new_tokens, spec.new_tokens, 0)
        for name, amount in time_of_answers(asked, slots, model).items():
            if name not in ("start", "opening", "answers"):
                found[name] = found.get(name, 0.0) + times * amount
    return found


def memory_of_answers(asked: Asked, slots: int, model: Model) -> dict[str, float]:
    """Return what is in memory while `slots` requests are answered at a time."""
    shape = model.shape
    mean = asked.prompts / max(1, asked.answers) + asked.limit
    columns = 0.0
    for count, longest in _batches(asked):
        at_once = model.slots(count, longest, slots)
        columns = max(columns, at_once * longest * (_ROOM if count > at_once else 1.0))
    slots = model.slots(*max(_batches(asked)), slots)
    return _held(model) | {
        "buffers": columns * shape.cache * _WIDE,
        "blocks": slots * mean * shape.cache * _WIDE,
        "scoring": 1.0 if asked.scored else 0.0,
        "batch": float(slots * shape.vocabulary * _FLOAT),
        "activations": float(asked.longest * shape.hidden * _WIDE),
    }


def _batches(asked: Asked) -> tuple[tuple[int, int], ...]:
    return asked.batches or ((asked.answers, asked.longest),)


def memory_of_windows(length: int, model: Model) -> dict[str, float]:
    """Return what is in memory while a window of text is predicted."""
    return _held(model) | {"windows": float(length * model.shape.vocabulary * _FLOAT)}


def time_of_method(needs: Requirements, shape: Shape, at: Speed, first: bool) -> dict[str, float]:
    """Return the work of a recipe's step; the first one starts the process."""
    return {
        "start": at.start if first else 0.0,
        "weights": shape.parameters * _WIDE / at.read,
        "products": 2.0 * shape.parameters / at.gemm,
        "calibrated": shape.inner * _WIDE / at.read if needs.tokens else 0.0,
        "tokens": 2.0 * shape.parameters * needs.tokens * needs.passes / at.gemm,
    }


def memory_of_method(needs: Requirements, shape: Shape) -> dict[str, float]:
    """Return what is in memory while a recipe's step is at work."""
    return {
        "base": 1.0,
        "weights": float(shape.parameters * _WIDE),
        "calibrated": float(shape.inner * _WIDE) if needs.tokens else 0.0,
        "largest": float(shape.largest * _WIDE),
        "activations": float(needs.tokens * shape.hidden * _WIDE),
        "windows": float(needs.window * shape.vocabulary * _FLOAT),
    }


def bytes_of(shape: Shape, bits: float, outer_bits: float) -> int:
    """Return the bytes of weights with so many bits in the layers, so many outside of them."""
    return int(shape.inner * bits / 8 + shape.outer * outer_bits / 8)


def _opening(model: Model) -> dict[str, float]:
    return {"start": model.speed.start, "opening": model.weights.resident / model.speed.read}


def _held(model: Model) -> dict[str, float]:
    return {
        "base": 1.0,
        "stored": float(model.weights.stored),
        "resident": float(model.weights.resident),
        "outer": float(model.shape.outer * _WIDE),
        "inner": float(model.shape.inner * _WIDE),
    }
