"""A key-value cache for transformers models whose batch rows come and go one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from weightcut.errors import NotHere


@dataclass
class Span:
    """Which part of the buffers is in use; all layers of a cache share one.

    Rows end at a common column and so begin at different ones (`starts`), as with left padding.
    first: the column where the longest row begins. end: one past the last written column.
    entering: tokens of the prompt that is being read into row `rows`, else 0.
    """

    slots: int
    capacity: int
    starts: list[int] = field(default_factory=list)
    first: int = 0
    end: int = 0
    entering: int = 0

    @property
    def rows(self) -> int:
        """Number of rows in use."""
        return len(self.starts)


class RowLayer:
    """One layer's keys and values, [slots, heads, capacity, size], written in place.

    Stands in for a layer of `transformers.cache_utils.Cache` (its contract is CacheLayerMixin's).
    Appending to a tensor at each token, as transformers' own layers do, copies the whole cache.
    """

    is_compileable = False
    supports_early_init = False

    def __init__(self, span: Span, window: int | None) -> None:
        self.span = span
        self.window = window
        self.is_sliding = window is not None
        self.is_initialized = False
        self.keys: Any = None
        self.values: Any = None

    def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Store new keys and values; return all those that the new tokens may look at."""
        if not self.is_initialized:
            self.keys, self.values = self._buffer(keys), self._buffer(values)
            self.is_initialized = True
        span = self.span
        if span.entering:
            columns = slice(span.end - span.entering, span.end)
            self.keys[span.rows, :, columns] = keys[0]
            self.values[span.rows, :, columns] = values[0]
            return keys, values
        self.keys[: span.rows, :, span.end] = keys[:, :, 0]
        self.values[: span.rows, :, span.end] = values[:, :, 0]
        kept, offset = self.get_mask_sizes(1)
        columns = slice(span.first + offset, span.first + offset + kept)
        return self.keys[: span.rows, :, columns], self.values[: span.rows, :, columns]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many columns attention sees, and how many lie before them."""
        if self.span.entering:
            return query_length, 0
        length = self.get_seq_length() + query_length
        kept = min(length, self.window or length)
        return kept, length - kept

    def get_seq_length(self) -> int:
        """Return how many tokens the longest row has so far."""
        return 0 if self.span.entering else self.span.end - self.span.first

    def get_max_length(self) -> int:
        """Return that there is no limit to speak of."""
        return -1

    def copy_row(self, source: int, target: int) -> None:
        """Overwrite one row by another."""
        columns = slice(self.span.first, self.span.end)
        self.keys[target, :, columns] = self.keys[source, :, columns]
        self.values[target, :, columns] = self.values[source, :, columns]

    def move_to_front(self) -> None:
        """Shift the columns in use to the beginning of the buffers."""
        span = self.span
        for buffer in (self.keys, self.values):
            used = buffer[: span.rows, :, span.first : span.end].clone()
            buffer[: span.rows, :, : used.shape[2]] = used

    def _buffer(self, like: Any) -> Any:
        # Zeros, not empty memory: a masked NaN still poisons the sum over values.
        shape = (self.span.slots, like.shape[1], self.span.capacity, like.shape[3])
        return like.new_zeros(shape)


class RowCache:
    """The whole model's cache, and the bookkeeping of its rows.

    `view` is what a model's forward takes as past_key_values. A prompt enters with `enter` before
    its forward and `entered` after; a decoding forward is followed by `advance`.
    """

    def __init__(self, config: Any, slots: int, capacity: int) -> None:
        from transformers.cache_utils import Cache, CacheLayerMixin

        CacheLayerMixin.register(RowLayer)
        self._span = Span(slots, capacity)
        self._layers = [RowLayer(self._span, window) for window in windows(config)]
        self.view = Cache(layers=self._layers)

    @property
    def starts(self) -> Sequence[int]:
        """For each row, the number of padding columns before it."""
        return [start - self._span.first for start in self._span.starts]

    @property
    def length(self) -> int:
        """Number of columns, those of the padding included."""
        return self._span.end - self._span.first

    def enter(self, tokens: int) -> None:
        """Say that the next forward reads a prompt of so many tokens into a new row."""
        span = self._span
        if not span.rows:
            span.first, span.end = 0, tokens
        elif tokens > span.end:
            raise ValueError("prompts must enter longest first")
        span.entering = tokens

    def entered(self) -> None:
        """Make the row that was just read one of the batch."""
        span = self._span
        span.starts.append(span.end - span.entering)
        span.entering = 0
        span.first = min(span.starts)

    def make_room(self) -> None:
        """Make sure that one more column fits."""
        span = self._span
        if span.end < span.capacity:
            return
        for layer in self._layers:
            layer.move_to_front()
        span.starts = [start - span.first for start in span.starts]
        span.first, span.end = 0, span.end - span.first

    def advance(self) -> None:
        """Count the column that a decoding forward has written."""
        self._span.end += 1

    def remove(self, row: int) -> None:
        """Take a row out; the last one takes its number."""
        span = self._span
        last = span.rows - 1
        if row != last:
            for layer in self._layers:
                layer.copy_row(last, row)
            span.starts[row] = span.starts[last]
        span.starts.pop()
        span.first = min(span.starts, default=span.end)


def token_bytes(config: Any, itemsize: int) -> int:
    """Return the bytes of one token's keys and values in all layers."""
    layers = len(windows(config))
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * layers * heads * size * itemsize)


def windows(config: Any) -> list[int | None]:
    """Return for each layer its sliding window in tokens, or None for full attention.

    NotHere for a model that keeps any other state (recurrent, convolutional, indexed).
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    text = config.get_text_config(decoder=True)
    found: list[int | None] = []
    for layer in DynamicCache(config=text).layers:
        if type(layer) is DynamicSlidingWindowLayer:
            found.append(layer.sliding_window)
        elif type(layer) is DynamicLayer:
            found.append(None)
        else:
            raise NotHere(
                f"the transformers engine cannot batch a {text.model_type} model: it keeps state "
                f"that is not keys and values ({type(layer).__name__})"
            )
    return found
