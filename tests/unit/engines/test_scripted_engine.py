from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from weightcut.engines.engine import Engine
from weightcut.engines.scripted import ScriptedEngine
from weightcut.models.scripted import END, ScriptedModel
from weightcut.records import Artifact, Completion, Request, TokenBlocks

ANSWER = "def add(a, b):\n    return a + b\n"


def artifact(folder: Path, **fields: object) -> Artifact:
    ScriptedModel(**{"answers": {"add": ANSWER}, **fields}).save(folder)
    return Artifact(path=folder, format="scripted", digest="", bytes=0, checkpoint="")


def request(name: str = "r", **fields: object) -> Request:
    return Request(id=name, prompt="add", prompt_ids=tuple(b"add"), **fields)


def ask(folder: Path, *requests: Request, **fields: object) -> list[Completion]:
    with ScriptedEngine().open(artifact(folder, **fields)) as session:
        return list(session.generate(requests))


def test_it_is_an_engine():
    assert isinstance(ScriptedEngine(), Engine)


def test_an_answer_has_its_bytes_their_times_and_its_end(tmp_path):
    (done,) = ask(tmp_path, request(), ttft_s=0.5, tpot_s=0.25)
    assert done.text == ANSWER
    assert done.token_ids == (*ANSWER.encode(), END)
    assert done.finish_reason == "stop"
    assert done.token_times[:3] == (0.5, 0.75, 1.0)
    assert len(done.token_times) == len(done.token_ids)
    assert done.mean_logprob is not None
    assert done.mean_logprob < 0


def test_limits_and_stop_texts(tmp_path):
    short, stopped, timed = (
        ask(tmp_path, r)[0]
        for r in (
            request(max_new_tokens=5),
            request(stop=("\n",)),
            request(ignore_stop=True, max_new_tokens=100),
        )
    )
    assert (short.text, short.finish_reason) == (ANSWER[:5], "length")
    assert (stopped.text, stopped.finish_reason) == ("def add(a, b):", "stop")
    assert bytes(stopped.token_ids) == b"def add(a, b):\n"
    assert (len(timed.token_ids), timed.finish_reason) == (100, "length")


def test_rambling_runs_to_the_limit(tmp_path):
    (done,) = ask(tmp_path, request(max_new_tokens=200), skill=0, ramble=1)
    assert (len(done.token_ids), done.finish_reason) == (200, "length")


def test_concurrency_costs_and_noise_is_seeded(tmp_path):
    requests = [request(f"r{i}") for i in range(4)]
    one = ask(tmp_path, requests[0], noise=0.2)[0]
    four = ask(tmp_path, *requests, noise=0.2)
    again = ask(tmp_path, *requests, noise=0.2)
    assert four == again
    assert [c.token_times[-1] for c in four] == sorted(c.token_times[-1] for c in four)
    assert next(c for c in four if c.request_id == "r0").token_times[-1] > one.token_times[-1]


def test_seeds_matter_only_when_sampling(tmp_path):
    def texts(temperature: float) -> set[str]:
        requests = [request(seed=s, temperature=temperature) for s in range(20)]
        return {ask(tmp_path, r, skill=0.5)[0].text for r in requests}

    assert len(texts(0.0)) == 1
    assert len(texts(0.8)) == 2


def test_logprobs_are_the_models_table(tmp_path):
    ids = np.frombuffer(b"return x", dtype=np.uint8).astype(np.int64)[None, :]
    blocks = TokenBlocks(ids=ids, text_bytes=np.array([7]))
    with ScriptedEngine().open(artifact(tmp_path)) as session:
        (window,) = session.token_logprobs(blocks)
    assert window.values.shape == (7, 257)
    assert np.array_equal(window.values[0], ScriptedModel().next_logprobs()[ord("r")])


def test_it_fails_after_as_many_answers_as_it_is_told(tmp_path):
    session = ScriptedEngine().open(artifact(tmp_path, fail_after=2))
    assert len(list(session.generate([request("a"), request("b")]))) == 2
    with pytest.raises(RuntimeError, match="after 2 answers"):
        next(session.generate([request("c")]))


def test_it_crashes_on_demand(tmp_path):
    folder = artifact(tmp_path, crash=True).path
    code = (
        "import sys; from pathlib import Path\n"
        "from weightcut.engines.scripted import ScriptedEngine\n"
        "from weightcut.records import Artifact, Request\n"
        "a = Artifact(path=Path(sys.argv[1]), format='scripted', digest='', bytes=0,"
        " checkpoint='')\n"
        "list(ScriptedEngine().open(a).generate([Request(id='r', prompt='', prompt_ids=())]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
