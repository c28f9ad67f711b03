"""The llama.cpp engine: GGUF files, with continuous batching over llama.cpp's own sequences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import psutil
from pydantic import Field

from weightcut.engines.answers import log_softmax
from weightcut.engines.engine import CACHE_SHARE, Closing, Cost
from weightcut.engines.llama_cpp_context import LlamaContext, LlamaModel
from weightcut.engines.slots import SlotBatch, needed
from weightcut.engines.versions import told_of
from weightcut.errors import BrokenInput
from weightcut.models.gguf_file import GGUFFile, read_gguf
from weightcut.models.llama_library import load_library
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Format, LogProbs, Record, Request, TokenBlocks

FILE = "model.gguf"
_CACHE_BYTES = {"f16": 2, "f32": 4}


class LlamaCppEngine(Record):
    """llama.cpp on the CPU, through llama-cpp-python's bindings; no prefix cache.

    Prompts and answers are token ids: the tokenizer in the GGUF file is not used.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"gguf"})
    packages: ClassVar[tuple[str, ...]] = ("llama_cpp",)
    extra: ClassVar[str] = "gguf"
    exact: ClassVar[dict[str, Any]] = {"kv_cache": "f32", "flash_attention": False}
    cost: ClassVar[Cost] = Cost(
        single_s=1e-10, batched_s=3e-11, prefill_s=6e-12, start_s=2.0, base_memory=300_000_000
    )

    kind: Literal["llama_cpp"] = "llama_cpp"
    kv_cache: Literal["f16", "f32"] = Field("f16", description="type of the key-value cache")
    flash_attention: bool = Field(True, description="use llama.cpp's fused attention")
    max_batch: int = Field(32, ge=1, le=256, description="sequences that are answered at a time")
    threads: int | None = Field(None, ge=1, description="CPU threads; null: one for each core")

    def open(self, artifact: Artifact) -> LlamaCppSession:
        """Map the file; BrokenInput for a damaged one, NotHere without the package."""
        library = load_library()
        path = artifact.path / FILE if artifact.path.is_dir() else artifact.path
        if not path.is_file():
            raise BrokenInput(f"there is no {FILE}", place=str(artifact.path))
        with told_of(artifact):
            header = read_gguf(path)  # llama.cpp itself trusts what a file says of its sizes
            return LlamaCppSession(self, artifact.path, header, LlamaModel(library, path))


class LlamaCppSession(Closing):
    """An opened GGUF file."""

    def __init__(
        self, engine: LlamaCppEngine, folder: Path, header: GGUFFile, model: LlamaModel
    ) -> None:
        self._engine, self._header, self._model = engine, header, model
        self._tokenizer = load_tokenizer(folder)
        self._threads = engine.threads or os.cpu_count() or 1
        self._context: LlamaContext | None = None

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once, longest prompt first; yield each as it ends."""
        positions = self._model.positions
        capacity = needed(requests, positions)
        slots = min(self._engine.max_batch, max(1, len(requests)), self._room(capacity))
        runner = self._opened(slots, capacity)
        return SlotBatch(runner, self._tokenizer, positions).generate(requests)

    def live(self, slots: int, tokens: int) -> SlotBatch:
        """Return a batch that requests enter and leave, each with an equal part of the cache."""
        runner = self._opened(min(slots, 256), max(1, tokens // slots))
        return SlotBatch(runner, self._tokenizer, self._model.positions)

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        runner = self._opened(1, blocks.ids.shape[1])
        for index, ids in enumerate(blocks.ids):
            logits = runner.window(ids[:-1].tolist())
            yield LogProbs(index, log_softmax(logits, logits))

    def describe(self) -> dict[str, Any]:
        """Return versions, the library's instruction sets, precisions, threads."""
        return {
            "engine": "llama_cpp",
            "llama-cpp-python": self._model.library.__version__,
            "precision": weight_types(self._header),
            "instructions": self._model.instructions,
            "build": slow_build(self._model.instructions),
            "kv_cache": self._engine.kv_cache,
            "flash_attention": self._engine.flash_attention,
            "threads": self._threads,
            "max_batch": self._engine.max_batch,
            "batching": "continuous, a cache of its own for each sequence, no prefix cache",
        }

    def close(self) -> None:
        """Give the memory back; closing twice is harmless."""
        if self._context is not None:
            self._context.close()
            self._context = None
        self._model.close()

    def _opened(self, slots: int, capacity: int) -> LlamaContext:
        """Return a context of that size; the one before is closed first."""
        if self._context is not None:
            self._context.close()
        engine = self._engine
        self._context = LlamaContext(
            self._model, slots, capacity, self._threads, engine.kv_cache, engine.flash_attention
        )
        return self._context

    def _room(self, capacity: int) -> int:
        """Return how many sequences of `capacity` tokens the free memory has room for."""
        width = cache_width(self._header) * _CACHE_BYTES[self._engine.kv_cache]
        free = psutil.virtual_memory().available * CACHE_SHARE
        return max(1, int(free / (width * capacity)))


def cache_width(header: GGUFFile) -> int:
    """Return how many numbers the cache holds for each token, from the file's metadata."""
    data, kind = header.metadata, header.metadata.get("general.architecture")
    heads = data.get(f"{kind}.attention.head_count") or 1
    sizes = (
        data.get(f"{kind}.block_count"),
        data.get(f"{kind}.attention.head_count_kv") or heads,
        data.get(f"{kind}.attention.key_length") or data.get(f"{kind}.embedding_length"),
    )
    width = 2
    for size in sizes:
        if not isinstance(size, int) or size < 1:
            raise BrokenInput(
                "its metadata lack the sizes of its attention", place=str(header.path)
            )
        width *= size
    return width


def weight_types(header: GGUFFile) -> str:
    """Return the types of the weight matrices and how many there are of each: `Q4_K 180, F16 1`."""
    import gguf

    counts: dict[str, int] = {}
    for tensor in header.tensors.values():
        if len(tensor.shape) > 1:
            name = gguf.GGMLQuantizationType(tensor.kind).name
            counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)


def slow_build(instructions: str) -> str:
    """Return what a library that was built for older CPUs leaves unused here, if anything."""
    flags = _cpu_flags()
    wanted = {"AVX512": "avx512f", "AVX512_VNNI": "avx512_vnni", "AVX512_BF16": "avx512_bf16"}
    unused = [
        name for name, flag in wanted.items() if flag in flags and f"{name} = 1" not in instructions
    ]
    if not unused:
        return "made for this CPU"
    return f"made without {', '.join(unused)}, which this CPU has: make gguf-native"


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
