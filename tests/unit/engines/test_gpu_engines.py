"""vLLM and TensorRT-LLM without a GPU: what they are asked for, and what is said where none is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Made
from typing import Any

import numpy as np
import pytest

from weightcut import registry
from weightcut.engines import gpu_answers, tensorrt, vllm
from weightcut.errors import BrokenInput, NotHere
from weightcut.hardware import probe, verdicts
from weightcut.hardware.fits import check
from weightcut.models.scripted import ScriptedModel
from weightcut.records import Artifact, Request, TokenBlocks

WORDS = b"hello there"


class Model:
    """Says WORDS to every prompt, a token for each request in a step, as vLLM's engine does."""

    def __init__(self, arguments: Any) -> None:
        if arguments.model.endswith("broken"):
            raise ValueError("first line\nno weights here")
        self.arguments = arguments
        self.running: dict[str, tuple[Any, int]] = {}
        self.prompts: list[Any] = []
        self.aborted: list[str] = []
        self.model_config = Made(get_vocab_size=lambda: 257)

    @classmethod
    def from_engine_args(cls, arguments: Any) -> Model:
        return cls(arguments)

    def add_request(self, name: str, prompt: Any, sampling: Any) -> None:
        assert name not in self.running
        self.prompts.append(prompt)
        self.running[name] = (sampling, 0)

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names
        for name in names:
            self.running.pop(name, None)

    def step(self) -> list[Any]:
        found = []
        for name, (sampling, done) in list(self.running.items()):
            ids = list(WORDS[: done + 1])
            finished = done + 1 == min(sampling.max_tokens, len(WORDS))
            self.running[name] = (sampling, done + 1)
            if finished:
                del self.running[name]
            made = Made(
                token_ids=ids,
                logprobs=[{token: Made(logprob=-0.5)} for token in ids],
                finish_reason="length" if finished else None,
            )
            rows = [None, *({at: Made(logprob=-float(at)) for at in range(257)} for _ in range(3))]
            found.append(
                Made(request_id=name, outputs=[made], finished=finished, prompt_logprobs=rows)
            )
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ScriptedModel(answers={}).save(tmp_path / "model", weight_bytes=10)
    return tmp_path / "model"


@pytest.fixture
def session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[vllm.VLLMSession]:
    library = Made(
        SamplingParams=lambda **fields: Made(**fields),
        EngineArgs=lambda **fields: Made(**fields),
        LLMEngine=Model,
    )
    monkeypatch.setitem(sys.modules, "vllm", library)
    monkeypatch.setattr(vllm, "require_gpu", lambda _: None)
    monkeypatch.setattr(vllm, "offline", lambda: None)
    with vllm.VLLMEngine(max_batch=7).open(artifact(folder)) as opened:
        yield opened


def artifact(folder: Path) -> Artifact:
    return Artifact(path=folder, format="hf", digest="", bytes=0, checkpoint="")


def request(name: str, **fields: Any) -> Request:
    return Request.model_validate(
        {"id": name, "prompt": "", "prompt_ids": (1, 2), "max_new_tokens": 5, **fields}
    )


def test_vllm_runs_no_code_of_the_model_and_caches_no_prefix(session: vllm.VLLMSession) -> None:
    arguments = session._engine.arguments
    assert arguments.trust_remote_code is False
    assert arguments.enable_prefix_caching is False
    assert arguments.max_num_seqs == 7


def test_vllm_answers_end_where_the_request_says(session: vllm.VLLMSession) -> None:
    asked = [
        request("limit"),
        request("text", max_new_tokens=50, stop=(" th",)),
        request("id", max_new_tokens=50, stop_ids=(ord("o"),)),
    ]
    done = {one.request_id: one for one in session.generate(asked)}
    assert (done["limit"].text, done["limit"].finish_reason) == ("hello", "length")
    assert (done["text"].text, done["text"].finish_reason) == ("hello", "stop")
    assert (done["id"].text, done["id"].finish_reason) == ("hell", "stop")
    assert len(done["limit"].token_times) == 5
    assert done["limit"].mean_logprob == -0.5
    assert session._engine.prompts == [{"prompt_token_ids": [1, 2]}] * 3
    assert len(session._engine.aborted) == 2
    assert not session._engine.running


def test_vllm_forgets_what_a_consumer_leaves(session: vllm.VLLMSession) -> None:
    half_way = session.generate([request("a", max_new_tokens=1), request("b")])
    next(half_way)
    half_way.close()  # type: ignore[attr-defined]
    assert not session._engine.running
    assert [one.text for one in session.generate([request("c")])] == ["hello"]


def test_vllm_sampling_is_the_requests_own(session: vllm.VLLMSession) -> None:
    greedy = session._sampling(request("a", seed=3))
    drawn = session._sampling(request("a", seed=3, temperature=0.7, top_p=0.9, ignore_stop=True))
    assert (greedy.temperature, greedy.seed, greedy.ignore_eos) == (0.0, None, True)
    assert (drawn.temperature, drawn.top_p, drawn.seed, drawn.stop_token_ids) == (0.7, 0.9, 3, [])


def test_vllm_windows_are_whole_distributions(session: vllm.VLLMSession) -> None:
    blocks = TokenBlocks(np.ones((2, 4), np.int64), np.zeros(2, np.int64))
    found = list(session.token_logprobs(blocks))
    assert [one.block for one in found] == [0, 1]
    assert found[0].values.shape == (3, 257)
    assert found[0].values[0, 7] == -7.0


def test_vllm_tells_why_a_folder_cannot_be_opened(
    session: vllm.VLLMSession, tmp_path: Path
) -> None:
    with pytest.raises(BrokenInput, match="no weights here"):
        vllm.VLLMEngine().open(artifact(tmp_path / "broken"))


def test_tensorrt_asks_for_the_same_answers(folder: Path) -> None:
    library = Made(SamplingParams=lambda **fields: Made(**fields))
    made = tensorrt.TensorRTSession(tensorrt.TensorRTEngine(), library, Streaming(), folder)
    greedy = made._sampling(request("a", stop_ids=(3,)))
    assert (greedy.top_k, greedy.ignore_eos, greedy.stop_token_ids) == (1, True, [3])
    drawn = made._sampling(request("a", temperature=0.7, seed=5, ignore_stop=True))
    assert (drawn.temperature, drawn.seed, drawn.stop_token_ids) == (0.7, 5, None)
    asked = [request("limit"), request("text", max_new_tokens=50, stop=(" th",))]
    done = {one.request_id: one for one in made.generate(asked)}
    assert (done["limit"].text, done["limit"].finish_reason) == ("hello", "length")
    assert (done["text"].text, done["text"].finish_reason) == ("hello", "stop")


class Streaming:
    """A stand-in for TensorRT-LLM's LLM: each answer an asynchronous stream."""

    def generate_async(self, ids: list[int], sampling: Any, streaming: bool) -> Any:
        assert streaming
        assert ids == [1, 2]
        return Stream(sampling.max_tokens)

    def shutdown(self) -> None:
        pass


class Stream:
    def __init__(self, limit: int) -> None:
        self.limit, self.aborted = limit, False

    def abort(self) -> None:
        self.aborted = True

    async def __aiter__(self) -> Any:
        for count in range(1, min(self.limit, len(WORDS)) + 1):
            ids = list(WORDS[:count])
            made = Made(
                token_ids=ids,
                logprobs=[{token: Made(logprob=-0.5)} for token in ids],
                finish_reason="length" if count == self.limit else None,
            )
            yield Made(outputs=[made])


@pytest.mark.skipif(bool(probe.gpus()), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["vllm", "tensorrt"])
def test_without_a_gpu_it_is_said_plainly(name: str, folder: Path) -> None:
    engine = registry.load("engine", name)
    with pytest.raises(NotHere, match=f"the engine {name} needs a GPU"):
        engine().open(artifact(folder))
    part = verdicts.part("engine", name, engine)
    judged = verdicts.best(part, verdicts.devices())
    assert judged.verdict == "not-here"
    assert judged.worst[0].reason == "it needs a GPU"
    needs = registry.load("method", "tensorrt")().requirements()
    assert check(needs) == "it needs a GPU and this machine has none"


def test_older_cards_are_told_what_to_take_instead() -> None:
    from weightcut.hardware.cards import find_card

    for name, card in (("vllm", "M40"), ("tensorrt", "V100")):
        part = verdicts.part("engine", name, registry.load("engine", name))
        device = verdicts.devices(find_card(card))[1]
        reasons = [finding.reason for finding in verdicts.judge(part, device).findings]
        assert any("compute capability" in reason for reason in reasons)


def test_distributions_become_a_table() -> None:
    rows = gpu_answers.table([{0: Made(logprob=-1.0), 2: Made(logprob=-2.0)}], 3)
    assert rows.tolist() == [[-1.0, -np.inf, -2.0]]
