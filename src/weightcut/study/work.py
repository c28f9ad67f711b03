"""What a cell has to do, in units of this machine's speed and of the model's sizes.

Every function returns amounts by name: of time in seconds, what the work would take at the
machine's full speed; of memory in bytes. `costs.py` says how far each part is from that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from weightcut.compression.method import Requirements
from weightcut.engines.engine import CACHE_SHARE
from weightcut.hardware.speed import Speed
from weightcut.models.shape import Shape
from weightcut.profiling.load import WAVES
from weightcut.records import LoadSpec, ProfileSpec

Amounts = Mapping[str, float]
_WIDE = 2  # bytes of a 16-bit number
_FLOAT = 4
_WATCHED = 1.5  # seconds that a profile watches the machine before and after, at least
_ROOM = 1.25  # of the longest, in buffers that others enter as some end
_ROUNDS = 2  # of each level of concurrency


class Asked(NamedTuple):
    """What an engine is asked for.

    answers: how many, on average. prompts, tokens: tokens of all prompts and of all answers
    together. limit: tokens that an answer may have. longest: tokens of the longest sequence.
    scored: whether answers are scored beside. batches: how many sequences are answered in turn,
    and the longest of each; all at once without.
    """

    answers: float
    prompts: float
    tokens: float
    limit: int
    longest: int
    scored: bool = False
    batches: tuple[tuple[float, int], ...] = ()


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

    def slots(self, count: float, longest: int, most: float) -> float:
        """Return how many of `count` sequences are answered at a time: caches have their share."""
        free = max(0.0, self.room - self.weights.resident) * CACHE_SHARE
        row = _ROOM * longest * self.shape.cache * _WIDE
        return max(1.0, min(count, most, free / row if row else most))


def time_of_answers(asked: Asked, slots: float, model: Model) -> dict[str, float]:
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


def time_of_profile(
    spec: ProfileSpec,
    prompt: float,
    slots: int,
    model: Model,
    seconds: Callable[[Amounts], float],
) -> dict[str, float]:
    """Return the work of timing: each prompt alone, several at once, twice, then the load.

    seconds: what amounts take on the engine; how many requests of a rate meet depends on it.
    """

    def batch(size: float) -> Amounts:
        asked = Asked(size, size * prompt, size * spec.new_tokens, spec.new_tokens, 0)
        once = ("start", "opening", "answers")
        made = time_of_answers(asked, slots, model)
        return {name: amount for name, amount in made.items() if name not in once}

    batches = [(1.0, spec.prompts + 1.0)]
    batches += [(float(n), float(_ROUNDS)) for n in spec.concurrency if n > 1]
    if spec.load is not None:
        batches += _under_load(spec.load, slots, lambda size: seconds(batch(size)))
    found = _opening(model) | {"watching": _WATCHED}
    for size, times in batches:
        for name, amount in batch(size).items():
            found[name] = found.get(name, 0.0) + times * amount
    return found


def _under_load(
    load: LoadSpec, slots: int, seconds: Callable[[float], float]
) -> Iterator[tuple[float, float]]:
    """Yield how many requests of each level are answered together, and how many times that is.

    seconds: what a batch of that size takes. Time without a request under way is not waited for,
    so a level takes as long as the engine is at work.
    """
    most = min(load.at_once, slots)
    for rate in load.rates:
        size = _meeting(rate, min(most, load.requests), seconds)
        yield size, (load.requests - 1) / size
        yield 1, 1  # the last one, after which no others come
    for clients in load.clients:
        size = min(clients, most)
        yield size, max(load.requests, WAVES * clients) / size


def _meeting(rate: float, most: float, seconds: Callable[[float], float]) -> float:
    """Return how many requests that arrive at a rate are under way while any is, on average.

    While one is answered `coming` others arrive, a Poisson number where none has to wait; the more
    there are, the longer each takes. Above the engine's capacity as many as can be are answered
    together.
    """
    size = 1.0
    for _ in range(100):  # from below: where the number settles first
        coming = rate * seconds(size)
        before, size = size, min(most, coming / -math.expm1(-coming)) if coming else 1.0
        if size - before < 1e-3:
            break
    return size


def memory_of_answers(asked: Asked, slots: float, model: Model) -> dict[str, float]:
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


def _batches(asked: Asked) -> tuple[tuple[float, int], ...]:
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
