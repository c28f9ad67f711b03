"""The TensorRT-LLM engine: in-flight batching on an NVIDIA GPU."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from weightcut.engines.answers import Answer, log_softmax
from weightcut.engines.engine import Closing, Cost
from weightcut.engines.gpu_answers import missing_library, offline, require_gpu
from weightcut.errors import BrokenInput, WeightcutError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Format, LogProbs, Record, Request, TokenBlocks


class TensorRTEngine(Record):
    """TensorRT-LLM on an NVIDIA GPU, through its LLM API; no reuse of cache blocks.

    It opens Hugging Face folders, as they are or as the method tensorrt has quantized them.
    TensorRT-LLM pins a torch of its own: install it in an environment of its own. API:
    https://nvidia.github.io/TensorRT-LLM/llm-api/.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    packages: ClassVar[tuple[str, ...]] = ("tensorrt_llm",)
    extra: ClassVar[str] = ""
    gpu: ClassVar[bool] = True
    exact: ClassVar[dict[str, Any]] = {}
    cost: ClassVar[Cost] = Cost(
        single_s=5e-12, batched_s=2e-13, prefill_s=5e-14, start_s=90, base_memory=4_000_000_000
    )

    kind: Literal["tensorrt"] = "tensorrt"
    max_batch: int = Field(128, ge=1, description="sequences that are answered at a time")
    gpu_memory: float = Field(
        0.85, gt=0, lt=1, description="share of the free GPU memory for the key-value cache"
    )

    def open(self, artifact: Artifact) -> TensorRTSession:
        """Load the model onto the GPU; NotHere without one, BrokenInput where it cannot be read."""
        require_gpu(self.kind)
        offline()
        try:
            import tensorrt_llm
            from tensorrt_llm.llmapi import KvCacheConfig
        except ImportError as error:
            raise missing_library("tensorrt_llm") from error
        cache = KvCacheConfig(enable_block_reuse=False, free_gpu_memory_fraction=self.gpu_memory)
        try:
            model = tensorrt_llm.LLM(
                model=str(artifact.path),
                trust_remote_code=False,
                max_batch_size=self.max_batch,
                kv_cache_config=cache,
            )
        except (ValueError, RuntimeError, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
            raise BrokenInput(
                f"TensorRT-LLM cannot open it: {said}", place=str(artifact.path)
            ) from error
        return TensorRTSession(self, tensorrt_llm, model, artifact.path)


class TensorRTSession(Closing):
    """An opened model on a GPU."""

    def __init__(self, engine: TensorRTEngine, library: Any, model: Any, folder: Path) -> None:
        self._settings, self._library, self._model = engine, library, model
        self._tokenizer = load_tokenizer(folder)

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once; yield each as soon as it ends."""
        loop = asyncio.new_event_loop()
        start, done = time.perf_counter(), asyncio.Queue[Answer]()
        model = self._opened()

        async def follow(answer: Answer) -> None:
            request = answer.request
            result = model.generate_async(
                list(request.prompt_ids), self._sampling(request), streaming=True
            )
            async for output in result:
                self._read(answer, output, time.perf_counter() - start)
                if answer.reason:
                    result.abort()
                    break
            await done.put(answer)

        tasks = [loop.create_task(follow(Answer(request))) for request in requests]
        try:
            for _ in requests:
                yield loop.run_until_complete(done.get()).completion(self._tokenizer)
            loop.run_until_complete(asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        asked = self._library.SamplingParams(max_tokens=1, return_context_logits=True)
        for index, ids in enumerate(blocks.ids):
            output = self._opened().generate(ids.tolist(), asked)
            logits = output.context_logits.float().cpu().numpy()[: len(ids) - 1]
            yield LogProbs(index, log_softmax(logits, np.empty(logits.shape, np.float32)))

    def describe(self) -> dict[str, Any]:
        """Return versions, device, batching."""
        import torch

        return {
            "engine": "tensorrt",
            "versions": {name: version(name) for name in ("tensorrt_llm", "torch")},
            "device": torch.cuda.get_device_name(),
            "precision": "as the folder's config says",
            "max_batch": self._settings.max_batch,
            "batching": "in flight, paged attention, no reuse of blocks",
        }

    def close(self) -> None:
        """Shut the model down; closing twice is harmless."""
        if self._model is not None:
            self._model.shutdown()
            self._model = None

    def _opened(self) -> Any:
        if self._model is None:
            raise WeightcutError("the session is closed")
        return self._model

    def _sampling(self, request: Request) -> Any:
        """Return the parameters; where an answer ends is our own decision, alike everywhere."""
        sampled: dict[str, Any] = {"top_k": 1}
        if request.temperature > 0:
            sampled = {
                "temperature": request.temperature,
                "top_p": request.top_p,
                "seed": request.seed,
            }
        return self._library.SamplingParams(
            max_tokens=request.max_new_tokens,
            ignore_eos=True,
            stop_token_ids=None if request.ignore_stop else list(request.stop_ids) or None,
            include_stop_str_in_output=True,
            logprobs=1,
            **sampled,
        )

    def _read(self, answer: Answer, output: Any, now: float) -> None:
        """Give an answer the tokens that have come since it was read last."""
        (made,) = output.outputs
        ids, logprobs = list(made.token_ids), made.logprobs
        for at in range(len(answer.ids), len(ids)):
            answer.add(ids[at], now, float(logprobs[at][ids[at]].logprob), self._tokenizer)
        if made.finish_reason is not None and answer.reason is None:
            answer.reason = "length" if made.finish_reason == "length" else "aborted"
