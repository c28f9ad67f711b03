"""Sequences of different lengths as the rows of one batch of an ONNX model.

GroupQueryAttention reads how long each row is from the row sums of the attention mask, and writes
new keys and values in place where the cache's input and output are one buffer. So rows need no
padding, and one that ends gives its place to the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.errors import BrokenInput, WeightcutError

_PIECE = 512  # tokens of a window that are scored at once
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxRows:
    """Room for `slots` sequences of `capacity` tokens each; fewer where `memory` bytes hold fewer.

    folder: for messages.
    """

    def __init__(self, opened: Any, folder: Path, slots: int, capacity: int, memory: int) -> None:
        self._opened, self._folder = opened, folder
        self._caches = [
            one for one in opened.get_inputs() if one.name.startswith("past_key_values.")
        ]
        names = {one.name for one in (*opened.get_inputs(), *opened.get_outputs())}
        if not self._caches or not {"input_ids", "attention_mask", "logits"} <= names:
            raise BrokenInput(
                "the graph has no key-value cache among its inputs",
                place=str(folder),
                cure="export it with export-onnx, or with onnxruntime-genai's model builder",
            )
        self.dtype = np.dtype(_TYPES.get(self._caches[0].type, np.float32))
        heads, size = self._sizes()
        self._takes_positions = "position_ids" in names
        row = len(self._caches) * heads * size * capacity * self.dtype.itemsize
        self.slots, self.capacity = max(1, min(slots, memory // max(1, row))), capacity
        shape = (self.slots, heads, capacity, size)
        self._buffers = {one.name: np.zeros(shape, self.dtype) for one in self._caches}
        self._row_of: dict[int, int] = {}
        self._lengths: list[int] = []

    def enter(self, slot: int, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Read a prompt into an empty slot; return the logits after it, float32 [vocabulary]."""
        row = len(self._lengths)
        logits = self._run(np.array([ids], np.int64), [0], row)
        self._row_of[slot] = row
        self._lengths.append(len(ids))
        return self._wide(logits[0, -1])

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Add a token to each of these slots, which are all; return the logits after it."""
        ids = np.zeros((len(slots), 1), np.int64)
        rows = [self._row_of[slot] for slot in slots]
        ids[rows, 0] = tokens
        logits = self._run(ids, self._lengths, 0)
        self._lengths = [length + 1 for length in self._lengths]
        return self._wide(logits[:, -1][rows])

    def leave(self, slot: int) -> None:
        """Forget what a slot holds; the last row takes its place."""
        if slot not in self._row_of:  # its prompt could not be read
            return
        row, last = self._row_of.pop(slot), len(self._lengths) - 1
        if row != last:
            used = self._lengths[last]
            for buffer in self._buffers.values():
                buffer[row, :, :used] = buffer[last, :, :used]
            self._lengths[row] = used
            moved = next(s for s, r in self._row_of.items() if r == last)
            self._row_of[moved] = row
        self._lengths.pop()

    def window(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a window [length, vocabulary]."""
        parts = [
            self._wide(self._run(np.array([ids[at : at + _PIECE]], np.int64), [at], 0)[0])
            for at in range(0, len(ids), _PIECE)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _run(self, ids: npt.NDArray[np.int64], past: Sequence[int], first: int) -> npt.NDArray[Any]:
        """Compute `ids` [rows, new] after `past` tokens of each row, the rows from `first` on."""
        rows, new = ids.shape
        totals = np.array(past, np.int64) + new
        width = int(totals.max())
        if width > self.capacity:
            raise WeightcutError(f"{width} tokens do not fit a row of {self.capacity}")
        feed: dict[str, npt.NDArray[Any]] = {
            "input_ids": np.ascontiguousarray(ids),
            "attention_mask": (np.arange(width) < totals[:, None]).astype(np.int64),
        }
        if self._takes_positions:
            feed["position_ids"] = np.array(past, np.int64)[:, None] + np.arange(new)
        binding = self._opened.io_binding()
        for name, value in feed.items():
            binding.bind_cpu_input(name, value)
        for cache in self._caches:
            part = self._buffers[cache.name][first : first + rows]
            about = ("cpu", 0, self.dtype, part.shape, part.ctypes.data)
            binding.bind_input(cache.name, *about)
            binding.bind_output(cache.name.replace("past_key_values", "present"), *about)
        binding.bind_output("logits", "cpu")
        try:
            self._opened.run_with_iobinding(binding)
        except Exception as error:  # the library's own exceptions have no common base but this
            said = str(error).strip().splitlines()[0][:300]
            raise WeightcutError(
                f"ONNX Runtime failed while computing: {said}", place=str(self._folder)
            ) from error
        found: npt.NDArray[Any] = binding.get_outputs()[-1].numpy()
        return found

    def _sizes(self) -> tuple[int, int]:
        """Return heads and head size of the cache, the same in every layer."""
        shapes = {(one.shape[1], one.shape[3]) for one in self._caches}
        if len(shapes) == 1:
            heads, size = shapes.pop()
            size = size if isinstance(size, int) else self._head_size()
            if isinstance(heads, int) and isinstance(size, int):
                return heads, size
        raise BrokenInput(
            "the graph's key-value caches have no fixed size", place=str(self._folder)
        )

    def _head_size(self) -> int | None:
        """Return the head size that genai_config.json tells, where the graph leaves it open."""
        import json

        path = self._folder / "genai_config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["model"]["decoder"]["head_size"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return found if isinstance(found, int) and found > 0 else None

    @staticmethod
    def _wide(logits: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return logits.astype(np.float32, copy=False)
