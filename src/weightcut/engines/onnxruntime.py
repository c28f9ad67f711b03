"""The ONNX Runtime engine: continuous batching over key-value buffers of our own, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import psutil
from pydantic import Field

from weightcut.engines.answers import log_softmax
from weightcut.engines.engine import CACHE_SHARE, Closing, Cost
from weightcut.engines.onnxruntime_rows import OnnxRows
from weightcut.engines.slots import SlotBatch, needed, positions_of
from weightcut.engines.versions import told_of
from weightcut.errors import BrokenInput, WeightcutError, missing_extra
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Format, LogProbs, Record, Request, TokenBlocks

GRAPH = "model.onnx"


class OnnxRuntimeEngine(Record):
    """ONNX Runtime on the CPU; no prefix cache.

    It opens graphs with attention as GroupQueryAttention over key-value inputs, as export-onnx
    and onnxruntime-genai's model builder write them.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"onnx"})
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    extra: ClassVar[str] = "onnx"
    exact: ClassVar[dict[str, Any]] = {}
    cost: ClassVar[Cost] = Cost(
        single_s=2e-10,
        batched_s=3e-11,
        prefill_s=6e-12,
        start_s=3.0,
        base_memory=300_000_000,
        weights_copies=2.0,
    )

    kind: Literal["onnxruntime"] = "onnxruntime"
    max_batch: int = Field(32, ge=1, description="sequences that are answered at a time")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: one for each core")

    def open(self, artifact: Artifact) -> OnnxRuntimeSession:
        """Read and optimize the graph; BrokenInput where it is damaged or of another form."""
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("onnxruntime", self.extra) from error
        path = artifact.path / GRAPH
        if not path.is_file():
            raise BrokenInput(f"there is no {GRAPH}", place=str(artifact.path))
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads or os.cpu_count() or 1
        settings.log_severity_level = 4
        with told_of(artifact):
            return OnnxRuntimeSession(self, artifact.path, _open(onnxruntime, path, settings))


class OnnxRuntimeSession(Closing):
    """An opened ONNX model."""

    def __init__(self, engine: OnnxRuntimeEngine, folder: Path, opened: Any) -> None:
        self._engine, self._folder, self._opened = engine, folder, opened
        self._tokenizer = load_tokenizer(folder)
        self._positions = positions_of(folder)

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once, longest prompt first; yield each as it ends."""
        capacity = needed(requests, self._positions)
        rows = self._rows(min(self._engine.max_batch, max(1, len(requests))), capacity)
        return SlotBatch(rows, self._tokenizer, self._positions).generate(requests)

    def live(self, slots: int, tokens: int) -> SlotBatch:
        """Return a batch that requests enter and leave, each with an equal part of the cache."""
        rows = self._rows(slots, max(1, tokens // slots))
        return SlotBatch(rows, self._tokenizer, self._positions)

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        rows = self._rows(1, blocks.ids.shape[1])
        for index, ids in enumerate(blocks.ids):
            logits = rows.window(ids[:-1].tolist())
            yield LogProbs(index, log_softmax(logits, np.empty(logits.shape, np.float32)))

    def describe(self) -> dict[str, Any]:
        """Return versions, precisions, threads, batching."""
        rows = self._rows(1, 1)
        return {
            "engine": "onnxruntime",
            "onnxruntime": version("onnxruntime"),
            "device": "CPU",
            "precision": rows.dtype.name,
            "kv_cache": rows.dtype.name,
            "threads": self._engine.threads or os.cpu_count(),
            "max_batch": self._engine.max_batch,
            "batching": "continuous, a key-value buffer for each row, no prefix cache",
        }

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        self._opened = None

    def _rows(self, slots: int, capacity: int) -> OnnxRows:
        if self._opened is None:
            raise WeightcutError("the session is closed")
        free = psutil.virtual_memory().available * CACHE_SHARE
        return OnnxRows(self._opened, self._folder, slots, capacity, int(free))


def _open(library: Any, path: Path, settings: Any) -> Any:
    """Return the library's session; BrokenInput where it cannot open the graph."""
    try:
        return library.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own exceptions have no common base but this
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise BrokenInput(f"ONNX Runtime cannot open the model: {said}", place=str(path)) from error
