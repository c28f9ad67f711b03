"""llama.cpp's C functions behind two small classes: a model in memory, and sequences over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weightcut.errors import BrokenInput, NotHere, WeightcutError
from weightcut.models.llama_library import last_words, listening

_BATCH = 2048  # tokens that are handed over at once; llama.cpp computes 512 of them at a time
_TYPES = {"f32": 0, "f16": 1}  # ggml_type
_OFF, _ON = 0, 1  # llama_flash_attn_type


class LlamaModel:
    """A GGUF file's weights, mapped into memory, on the CPU alone."""

    def __init__(self, library: Any, path: Path) -> None:
        self.library = library
        settings = library.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.instructions = library.llama_print_system_info().decode(errors="replace").strip(" |")
        # GCC 12 moves stores past the instruction that reads them in llama.cpp's AMX code, which
        # then kills the process; `make gguf-native` builds without it.
        settings.use_extra_bufts = "AMX_INT8 = 1" not in self.instructions
        with listening() as said:
            self.handle = library.llama_model_load_from_file(str(path).encode(), settings)
            why = last_words(said)
        if not self.handle:
            raise BrokenInput(
                f"llama.cpp cannot load the model: {why}",
                place=str(path),
                cure="make it again; or this architecture is newer than the installed library",
            )
        self.vocabulary = int(
            library.llama_vocab_n_tokens(library.llama_model_get_vocab(self.handle))
        )
        self.positions = int(library.llama_model_n_ctx_train(self.handle)) or None

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        if self.handle:
            self.library.llama_model_free(self.handle)
            self.handle = None


class LlamaContext:
    """Room for `slots` sequences of `capacity` tokens, each with a cache of its own."""

    def __init__(
        self, model: LlamaModel, slots: int, capacity: int, threads: int, kind: str, flash: bool
    ) -> None:
        if not model.handle:
            raise WeightcutError("the session is closed")
        self.slots, self.capacity = slots, capacity
        self._model, self._library = model, model.library
        self._lengths = [0] * slots
        settings = self._library.llama_context_default_params()
        # A unified cache would let every sequence attend over the room of all, masked.
        settings.kv_unified = False
        settings.n_ctx, settings.n_seq_max = slots * -(-capacity // 256) * 256, slots
        settings.n_batch = _BATCH
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = _TYPES[kind]
        settings.flash_attn_type = _ON if flash else _OFF
        self._handle = self._library.llama_init_from_model(model.handle, settings)
        if not self._handle:
            raise NotHere(
                f"llama.cpp has no room for {slots} sequences of {capacity} tokens",
                cure="ask for fewer with max_batch",
            )
        self._memory = self._library.llama_get_memory(self._handle)
        self._batch = self._library.llama_batch_init(settings.n_batch, 0, 1)

    def enter(self, slot: int, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Read a prompt into an empty slot; return the logits after it, float32 [vocabulary]."""
        for start in range(0, len(ids), _BATCH):
            piece = ids[start : start + _BATCH]
            places = range(start, start + len(piece))
            last = start + len(piece) == len(ids)
            self._decode(piece, places, [slot] * len(piece), [False] * (len(piece) - 1) + [last])
        self._lengths[slot] = len(ids)
        row: npt.NDArray[np.float32] = self._logits(1)[0]
        return row

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Add a token to each of these slots; return the logits after it [slots, vocabulary]."""
        self._decode(tokens, [self._lengths[s] for s in slots], slots, [True] * len(slots))
        for slot in slots:
            self._lengths[slot] += 1
        return self._logits(len(slots))

    def leave(self, slot: int) -> None:
        """Forget what a slot holds."""
        if self._handle:
            self._library.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._lengths[slot] = 0

    def window(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the logits after every token of a window [length, vocabulary]; slot 0 is left."""
        self.leave(0)
        values = np.empty((len(ids), self._model.vocabulary), np.float32)
        for start in range(0, len(ids), 512):
            piece = ids[start : start + 512]
            places = range(start, start + len(piece))
            self._decode(piece, places, [0] * len(piece), [True] * len(piece))
            values[start : start + len(piece)] = self._logits(len(piece))
        self.leave(0)
        return values

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        if self._handle:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._handle)
            self._handle = None

    def _decode(
        self,
        tokens: Sequence[int],
        places: Sequence[int],
        slots: Sequence[int],
        wanted: Sequence[bool],
    ) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for at, (token, place, slot, logits) in enumerate(
            zip(tokens, places, slots, wanted, strict=True)
        ):
            if not 0 <= token < self._model.vocabulary:
                raise WeightcutError(f"the model has no token {token}")
            batch.token[at], batch.pos[at] = token, place
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, slot
            batch.logits[at] = logits
        if code := self._library.llama_decode(self._handle, batch):
            raise WeightcutError(f"llama.cpp failed while computing (llama_decode gave {code})")

    def _logits(self, rows: int) -> npt.NDArray[np.float32]:
        """Return the logits of the last call; they are overwritten by the next one."""
        pointer = self._library.llama_get_logits(self._handle)
        found: npt.NDArray[np.float32] = np.ctypeslib.as_array(
            pointer, shape=(rows * self._model.vocabulary,)
        ).reshape(rows, self._model.vocabulary)
        return found
