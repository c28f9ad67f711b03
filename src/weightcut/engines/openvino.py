"""The OpenVINO engine: continuous batching on the CPU, without torch or transformers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from weightcut.engines.answers import Answer, log_softmax
from weightcut.engines.engine import Closing, Cost
from weightcut.engines.openvino_batching import (
    PagedBatching,
    StatefulBatching,
    last_line,
    step_inputs,
)
from weightcut.engines.openvino_live import OpenVINOLive
from weightcut.engines.openvino_paged import paged_obstacle
from weightcut.engines.slots import positions_of, within
from weightcut.engines.versions import told_of
from weightcut.errors import BrokenInput, WeightcutError, missing_extra
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Format, LogProbs, Record, Request, TokenBlocks
from weightcut.settings import silence_telemetry

GRAPH, WEIGHTS = "openvino_model.xml", "openvino_model.bin"
Precision = Literal["f32", "f16", "bf16"]
_CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "u8": 1.25}
_KERNELS = "64"
"""So many compiled kernels are kept, by OpenVINO and by oneDNN below it.

Each number of tokens in a step has kernels of its own; by default thousands stay (hundreds of
megabytes in a server that reads prompts of all lengths), and make nothing faster.
"""
_CHUNK = 1 << 25  # logits in one inference when windows are scored: 128 MiB of float32


class OpenVINOEngine(Record):
    """OpenVINO on the CPU: paged attention and continuous batching, no prefix cache.

    Where the paged form of attention cannot express what the model does, sequences are batched in
    groups over the model's own state instead; `describe()` says so.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"openvino"})
    packages: ClassVar[tuple[str, ...]] = ("openvino", "openvino_genai")
    extra: ClassVar[str] = ""
    exact: ClassVar[dict[str, Any]] = {"precision": "f32", "kv_cache": "f32"}
    cost: ClassVar[Cost] = Cost(
        single_s=1e-10,
        batched_s=1e-11,
        prefill_s=3e-12,
        start_s=3.0,
        base_memory=400_000_000,
        weights_copies=2.0,
    )

    kind: Literal["openvino"] = "openvino"
    precision: Precision | None = Field(
        None,
        description="type of activations; null: bf16 where the CPU computes in it, else f32. With "
        "f32 OpenVINO computes quantized layers in int8, which makes tokens faster and prompts "
        "slower than bf16 does",
    )
    kv_cache: Literal["f32", "f16", "bf16", "u8"] | None = Field(
        None,
        description="type of the key-value cache; null: 16 bit (OpenVINO's own default is u8, "
        "which would put a quantized cache into every comparison)",
    )
    max_batch: int = Field(128, ge=1, description="sequences that are answered at a time")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: one for each core")

    def open(self, artifact: Artifact) -> OpenVINOSession:
        """Read the model; it is compiled when it is first used, for what it is then used for."""
        silence_telemetry()
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)
        try:
            import openvino as ov
        except ImportError as error:
            raise missing_extra("openvino", self.extra) from error
        core = ov.Core()
        with told_of(artifact):
            return OpenVINOSession(self, artifact, core, _read(core, artifact.path))


class OpenVINOSession(Closing):
    """An opened OpenVINO model."""

    def __init__(self, engine: OpenVINOEngine, artifact: Artifact, core: Any, graph: Any) -> None:
        self._engine, self._artifact, self._core, self._graph = engine, artifact, core, graph
        self._folder = artifact.path
        self._tokenizer = load_tokenizer(self._folder)
        self._precision = engine.precision or str(
            core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
        )
        self._kv_cache = engine.kv_cache or ("bf16" if self._precision == "bf16" else "f16")
        self._properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "KV_CACHE_PRECISION": self._kv_cache,
            "CPU_RUNTIME_CACHE_CAPACITY": _KERNELS,
        }
        if engine.threads:
            self._properties["INFERENCE_NUM_THREADS"] = engine.threads
        self._obstacle = paged_obstacle(graph, self._folder)
        self._compiled: Any = None
        self._batching: PagedBatching | StatefulBatching | None = None

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once; yield each as soon as it ends, in any order.

        Token times count from the submission, the compilation before it excluded. A request that
        samples draws from a generator of its own, seeded by its seed.
        """
        if self._batching is None:
            self._batching = self._open_batching()
        return self._answers(self._batching, requests)

    def _answers(
        self, batching: PagedBatching | StatefulBatching, requests: Sequence[Request]
    ) -> Iterator[Completion]:
        known = (self._folder / "config.json").is_file()  # not in every folder of others
        fitting, refused = within(requests, positions_of(self._folder) if known else None)
        yield from (Answer(one).completion(self._tokenizer) for one in refused)
        yield from batching.generate(fitting)

    def live(self, slots: int, tokens: int) -> OpenVINOLive | None:
        """Return a batch that answers come to one by one; None without paged attention."""
        if self._obstacle:
            return None
        return OpenVINOLive(self._paged(slots), self._tokenizer, tokens)

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        request = self._model().create_infer_request()
        for index, ids in enumerate(blocks.ids):
            yield LogProbs(index, self._window(request, ids))

    def describe(self) -> dict[str, Any]:
        """Return versions, precisions, batching, threads."""
        return {
            "engine": "openvino",
            "openvino": version("openvino"),
            "openvino-genai": version("openvino-genai"),
            "device": self._core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": self._precision,
            "kv_cache": self._kv_cache,
            "threads": self._engine.threads or "automatic",
            "max_batch": self._engine.max_batch,
            "batching": f"groups over the model's state: {self._obstacle}"
            if self._obstacle
            else "continuous, paged attention, no prefix cache",
            "activations_of_quantized_layers": self._activations(),
        }

    def _activations(self) -> str:
        # OpenVINO quantizes activations on the fly only where it would compute in float32.
        if self._precision != "f32":
            return self._precision
        size = self._core.get_property("CPU", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
        return f"int8, groups of {size}"

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        self._batching = self._compiled = self._graph = None

    def _open_batching(self) -> PagedBatching | StatefulBatching:
        limit = self._engine.max_batch
        if self._obstacle:
            return StatefulBatching(self._model(), self._tokenizer, limit)
        return self._paged(limit)

    def _paged(self, limit: int) -> PagedBatching:
        per_token = _CACHE_BYTES[self._kv_cache] * _cache_width(self._graph)
        return PagedBatching(self._folder, self._properties, self._tokenizer, limit, per_token)

    def _model(self) -> Any:
        if self._graph is None:
            raise WeightcutError("the session is closed")
        if self._compiled is None:
            try:
                self._compiled = self._core.compile_model(self._graph, "CPU", self._properties)
            except RuntimeError as error:
                with told_of(self._artifact):
                    raise BrokenInput(
                        f"OpenVINO cannot compile the model: {last_line(error)}",
                        place=str(self._folder / GRAPH),
                    ) from error
        return self._compiled

    def _window(self, request: Any, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return log-probabilities [length - 1, vocabulary], read in pieces that bound memory."""
        request.reset_state()
        length, vocabulary = len(ids) - 1, self._graph.output("logits").partial_shape[2]
        names = {name for port in self._graph.inputs for name in port.names}
        values = np.empty((length, vocabulary.get_length()), np.float32)
        piece = max(16, _CHUNK // values.shape[1])
        for start in range(0, length, piece):
            end = min(length, start + piece)
            feed = step_inputs(names, ids[None, start:end], np.ones((1, end), np.int64))
            logits = request.infer(feed, share_outputs=True)["logits"]
            if logits.shape[1] != end - start:
                raise BrokenInput(
                    "the model gives logits for the last token alone, so no text can be scored",
                    place=str(self._folder / GRAPH),
                    cure="export it again with export-openvino",
                )
            log_softmax(logits[0], values[start:end])
        return values


def _read(core: Any, folder: Path) -> Any:
    """Return the model of a folder, its weights mapped from the file."""
    for name in (GRAPH, WEIGHTS):
        if not (folder / name).is_file():
            raise BrokenInput(f"there is no {name}", place=str(folder))
    try:
        return core.read_model(folder / GRAPH)
    except RuntimeError as error:
        raise BrokenInput(
            f"OpenVINO cannot read the model: {last_line(error)}", place=str(folder / GRAPH)
        ) from error


def _cache_width(graph: Any) -> int:
    """Return how many numbers the key-value cache holds for each token."""
    shapes = [
        node.get_output_partial_shape(0)
        for node in graph.get_ops()
        if node.get_type_name() == "ReadValue"
    ]
    return sum(shape[1].get_length() * shape[3].get_length() for shape in shapes)
