"""The vLLM engine: continuous batching over paged attention on a GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.engines.answers import Answer
from weightcut.engines.engine import Closing, Cost
from weightcut.engines.gpu_answers import missing_library, offline, require_gpu, table
from weightcut.errors import BrokenInput, WeightcutError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Completion, Format, LogProbs, Record, Request, TokenBlocks


class VLLMEngine(Record):
    """vLLM on a GPU, through its LLMEngine; no prefix cache.

    It opens Hugging Face folders, those quantized by compressed-tensors, bitsandbytes and ModelOpt
    among them, with kernels that compute on the packed weights. vLLM pins a torch of its own:
    install it in an environment of its own. API: https://docs.vllm.ai/en/latest/api/.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"hf"})
    packages: ClassVar[tuple[str, ...]] = ("vllm",)
    extra: ClassVar[str] = ""
    gpu: ClassVar[bool] = True
    exact: ClassVar[dict[str, Any]] = {"dtype": "float32"}
    cost: ClassVar[Cost] = Cost(
        single_s=5e-12, batched_s=2e-13, prefill_s=5e-14, start_s=60, base_memory=4_000_000_000
    )

    kind: Literal["vllm"] = "vllm"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="type of activations and of weights that are not quantized"
    )
    max_batch: int = Field(128, ge=1, description="sequences that are answered at a time")
    gpu_memory: float = Field(
        0.85, gt=0, lt=1, description="share of the GPU's memory for weights and key-value cache"
    )

    def open(self, artifact: Artifact) -> VLLMSession:
        """Load the model onto the GPU; NotHere without one, BrokenInput where it cannot be read."""
        require_gpu(self.kind)
        offline()
        try:
            import vllm
        except ImportError as error:
            raise missing_library("vllm") from error
        settings = self.arguments(artifact.path)
        try:
            engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**settings))
        except (ValueError, RuntimeError, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
            raise BrokenInput(f"vLLM cannot open it: {said}", place=str(artifact.path)) from error
        return VLLMSession(vllm, engine, artifact.path, settings)

    def arguments(self, folder: Path) -> dict[str, Any]:
        """Return what vLLM's EngineArgs are given; logprobs of -1 are those of all tokens."""
        return {
            "model": str(folder),
            "tokenizer": str(folder),
            "trust_remote_code": False,
            "dtype": self.dtype,
            "max_num_seqs": self.max_batch,
            "gpu_memory_utilization": self.gpu_memory,
            "enable_prefix_caching": False,
            "max_logprobs": -1,
            "seed": 0,
            "disable_log_stats": True,
        }


class VLLMSession(Closing):
    """An opened model on a GPU."""

    def __init__(self, library: Any, engine: Any, folder: Path, settings: dict[str, Any]) -> None:
        self._library, self._engine, self._settings = library, engine, settings
        self._tokenizer = load_tokenizer(folder)
        self._number = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Answer all requests, submitted at once; yield each as soon as it ends."""
        engine, active = self._opened(), dict[str, Answer]()
        start = time.perf_counter()
        for request in requests:
            self._number += 1  # ids must not come twice while vLLM still remembers the first
            name = str(self._number)
            engine.add_request(name, _prompt(request.prompt_ids), self._sampling(request))
            active[name] = Answer(request)
        try:
            while active:
                for output in engine.step():
                    answer = active.get(output.request_id)
                    if answer is None:
                        continue
                    self._read(answer, output, time.perf_counter() - start)
                    if answer.reason:
                        del active[output.request_id]
                        if not output.finished:
                            engine.abort_request([output.request_id])
                        yield answer.completion(self._tokenizer)
        finally:
            if active:
                engine.abort_request(list(active))

    def token_logprobs(self, blocks: TokenBlocks) -> Iterator[LogProbs]:
        """Yield the next-token distributions of each window, in the order of the windows."""
        engine = self._opened()
        rows = int(engine.model_config.get_vocab_size())
        asked = self._library.SamplingParams(max_tokens=1, prompt_logprobs=-1, detokenize=False)
        for index, ids in enumerate(blocks.ids):
            self._number += 1
            engine.add_request(str(self._number), _prompt(ids.tolist()), asked)
            last: Any = None
            while last is None or not last.finished:
                last = next(iter(engine.step()), last)
            yield LogProbs(index, table(last.prompt_logprobs[1:], rows))

    def describe(self) -> dict[str, Any]:
        """Return versions, device, precision, batching."""
        import torch

        return {
            "engine": "vllm",
            "versions": {name: version(name) for name in ("vllm", "torch")},
            "device": torch.cuda.get_device_name(),
            "precision": self._settings["dtype"],
            "max_batch": self._settings["max_num_seqs"],
            "batching": "continuous, paged attention, no prefix cache",
        }

    def close(self) -> None:
        """Drop the engine; closing twice is harmless."""
        self._engine = None

    def _opened(self) -> Any:
        if self._engine is None:
            raise WeightcutError("the session is closed")
        return self._engine

    def _sampling(self, request: Request) -> Any:
        """Return vLLM's parameters; where an answer ends is our own decision, alike everywhere."""
        return self._library.SamplingParams(
            max_tokens=request.max_new_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed if request.temperature > 0 else None,
            ignore_eos=True,
            stop_token_ids=[] if request.ignore_stop else list(request.stop_ids),
            logprobs=0,  # that of the chosen token alone
            detokenize=False,
        )

    def _read(self, answer: Answer, output: Any, now: float) -> None:
        """Give an answer the tokens that a step has added to it."""
        (made,) = output.outputs
        ids, logprobs = list(made.token_ids), made.logprobs
        for at in range(len(answer.ids), len(ids)):
            answer.add(ids[at], now, float(logprobs[at][ids[at]].logprob), self._tokenizer)
        if output.finished and answer.reason is None:
            answer.reason = "length" if made.finish_reason == "length" else "aborted"


def _prompt(ids: Sequence[int]) -> dict[str, Any]:
    return {"prompt_token_ids": list(ids)}
