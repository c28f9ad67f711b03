"""Engines that the server runs itself: batches, cancelling, crashes."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from tests.families import WORDS, make_family
from tests.integration.openvino_models import artifact, export
from tests.serving import router

from weightcut.engines.openvino import OpenVINOEngine
from weightcut.errors import BrokenInput, UsageError
from weightcut.models.scripted import ScriptedModel
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Named, Request
from weightcut.routing.files import write_router
from weightcut.routing.server.calls import Call, Chunk
from weightcut.routing.server.config import parse_config
from weightcut.routing.server.upstreams.engine import LocalEngine
from weightcut.routing.server.upstreams.engine_process import EngineProcess
from weightcut.routing.server.upstreams.make import make_upstreams
from weightcut.routing.server.upstreams.text_stream import TextStream
from weightcut.routing.server.upstreams.upstream import CallRefused, PromptTooLong, UpstreamError

T = TypeVar("T")
OPTIONS = {"precision": "f32", "kv_cache": "f32", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("llama")
    (root / "out").mkdir()
    export(make_family("llama-tied", root / "hf"), root / "out")
    return root / "out"


def engine(folder: Path, slots: int = 4, tokens: int = 1024) -> LocalEngine:
    named = Named(kind="openvino", settings=OPTIONS)
    return LocalEngine("light", artifact(folder), named, slots, tokens)


def using(upstream: LocalEngine, what: Callable[[LocalEngine], Awaitable[T]]) -> T:
    async def run() -> T:
        await upstream.start()
        try:
            return await what(upstream)
        finally:
            await upstream.close()

    return asyncio.run(run())


async def collect(upstream: LocalEngine, call: Call) -> list[Chunk]:
    return [chunk async for chunk in upstream.stream(call)]


def prompts(count: int) -> list[str]:
    words = WORDS.split(" ")
    return [" ".join(words[3 * i : 3 * i + 5 + i]) for i in range(count)]


def test_answers_that_share_a_batch_are_those_of_the_engine_alone(folder: Path) -> None:
    texts = prompts(7)
    tokenizer = load_tokenizer(folder)
    requests = [
        Request(
            id=str(i),
            prompt="",
            prompt_ids=tuple(tokenizer.encode(text, special=True)),
            max_new_tokens=20 + i,
            stop_ids=tokenizer.stop_ids,
        )
        for i, text in enumerate(texts)
    ]
    with OpenVINOEngine.model_validate(OPTIONS).open(artifact(folder)) as session:
        alone = {made.request_id: made for made in session.generate(requests)}

    async def ask(upstream: LocalEngine) -> list[list[Chunk]]:
        calls = [
            Call(id=str(i), prompt=text, max_tokens=20 + i, logprobs=0)
            for i, text in enumerate(texts)
        ]
        return await asyncio.gather(*(collect(upstream, call) for call in calls))

    for index, chunks in enumerate(using(engine(folder), ask)):
        wanted = alone[str(index)]
        assert "".join(chunk.text for chunk in chunks) == wanted.text
        last = chunks[-1]
        assert last.finish == wanted.finish_reason
        assert last.completion_tokens == len(wanted.token_ids)
        assert last.prompt_tokens == len(requests[index].prompt_ids)
        assert last.mean_logprob == pytest.approx(wanted.mean_logprob, abs=1e-3)
        assert len(chunks) > 5
        # Tokens of random weights: hardly a character of more than one byte is whole.
        tokens = [token for chunk in chunks for token in chunk.tokens]
        assert b"".join(t.raw for t in tokens).decode("utf-8", "replace") == wanted.text
        assert len(tokens) == last.completion_tokens - (last.finish == "stop")


def test_an_answer_in_pieces_keeps_the_space_that_it_begins_with(tmp_path: Path) -> None:
    """A tokenizer that drops the space a text begins with, and an answer that begins none."""
    tokenizer = load_tokenizer(make_family("llama-spaces", tmp_path / "hf"))
    prompt, answer = "def add(a, b):\n", "    return a + b\n"
    before = tokenizer.encode(prompt)
    ids = tokenizer.encode(prompt + answer)[len(before) :]
    text = TextStream(partial(tokenizer.decode_after, before))
    assert "".join([*(text.add([one]) for one in ids), text.finish()]) == answer


def test_an_answer_that_is_given_up_frees_its_place(folder: Path) -> None:
    async def ask(upstream: LocalEngine) -> None:
        # The cache has room for one such answer at a time.
        for _ in range(5):
            call = Call(id="a", prompt="import", max_tokens=120)
            async with aclosing(upstream.stream(call)) as chunks:
                await anext(chunks)
        made = await asyncio.wait_for(
            collect(upstream, Call(id="b", prompt="import", max_tokens=120)), 20
        )
        assert made[-1].finish

    using(engine(folder, slots=2, tokens=256), ask)


def test_waiting_for_a_busy_engine_is_told_from_being_stuck(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightcut.routing.server.upstreams.engine._ALIVE_S", 0.02)

    async def ask(upstream: LocalEngine) -> None:
        first = upstream.stream(Call(id="a", prompt="import", max_tokens=150))
        await anext(first)
        second = upstream.stream(Call(id="b", prompt="import", max_tokens=150))
        waited = [await anext(second) for _ in range(2)]
        assert waited == [Chunk(), Chunk()]
        await first.aclose()
        await second.aclose()

    using(engine(folder, slots=1, tokens=256), ask)


def test_a_prompt_without_room_is_refused(folder: Path) -> None:
    async def ask(upstream: LocalEngine) -> None:
        with pytest.raises(PromptTooLong):
            await collect(upstream, Call(id="a", prompt=WORDS * 3, max_tokens=5))
        # Beyond the context it is counted, and not remembered.
        upstream._encoded.clear()
        assert (await upstream.prompt_tokens(Call(id="b", prompt=WORDS * 20)) or 0) > 512
        assert not upstream._encoded
        assert await upstream.prompt_tokens(Call(id="c", prompt="import"))
        assert upstream._encoded

    using(engine(folder, tokens=96), ask)


def test_a_killed_engine_fails_its_answers_and_comes_back(folder: Path) -> None:
    async def ask(upstream: LocalEngine) -> None:
        call = Call(id="a", prompt="import", max_tokens=1)
        wanted = await collect(upstream, call)
        stream = upstream.stream(Call(id="b", prompt="import", max_tokens=900))
        await anext(stream)
        assert upstream._process is not None
        os.kill(upstream._process.pid, signal.SIGKILL)
        with pytest.raises(UpstreamError, match="its process has ended"):
            async for _ in stream:
                pass
        with pytest.raises(UpstreamError, match="does not run"):
            await collect(upstream, call)
        # That request has made it start again.
        for _ in range(600):
            if upstream._process is not None and upstream._process.broken is None:
                break
            await asyncio.sleep(0.05)
        assert await collect(upstream, call) == wanted
        assert await upstream.healthy()

    using(engine(folder), ask)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.xml").write_text("<net>")
    (tmp_path / "tokenizer.json").write_text("{}")

    async def nothing(_upstream: LocalEngine) -> None:
        raise AssertionError("it started")

    with pytest.raises(BrokenInput):
        using(engine(tmp_path), nothing)


def test_an_engine_without_a_batch_answers_one_after_the_other(tmp_path: Path) -> None:
    ScriptedModel(answers={"add": "return a + b\n"}).save(tmp_path)
    settings = {"kind": "engine", "artifact": str(tmp_path), "engine": "scripted"}
    found = make_upstreams(parse_config({"variants": {"light": settings}}, "test"))["light"][0]
    assert isinstance(found, LocalEngine)

    async def ask(upstream: LocalEngine) -> None:
        messages = ({"role": "user", "content": "add"},)
        calls = [Call(id=str(i), messages=messages) for i in range(5)]
        for chunks in await asyncio.gather(*(collect(upstream, call) for call in calls)):
            assert "".join(chunk.text for chunk in chunks) == "return a + b\n"
            assert chunks[-1].finish == "stop"
        with pytest.raises(CallRefused, match="log-probabilities"):
            await collect(upstream, Call(id="l", messages=messages, logprobs=0))

    using(found, ask)


def test_an_engine_without_a_batch_that_hangs_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its time to the first token runs out, and another variant answers."""
    monkeypatch.setattr("weightcut.routing.server.upstreams.engine._ALIVE_S", 0.05)
    ScriptedModel().save(tmp_path)
    settings = {"kind": "engine", "artifact": str(tmp_path), "engine": "scripted"}
    found = make_upstreams(parse_config({"variants": {"light": settings}}, "test"))["light"][0]
    assert isinstance(found, LocalEngine)

    async def ask(upstream: LocalEngine) -> None:
        assert upstream._process is not None
        pid = upstream._process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            stream = upstream.stream(Call(id="a", prompt="add"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.5)
            # While it computes, it is waited for.
            works = itertools.count(1)
            monkeypatch.setattr(upstream._process, "worked", lambda: float(next(works)))
            stream = upstream.stream(Call(id="b", prompt="add"))
            assert await asyncio.wait_for(anext(stream), 5) == Chunk()
            await stream.aclose()
        finally:
            os.kill(pid, signal.SIGCONT)

    using(found, ask)


def hanging(folder: Path, **timeouts: float) -> LocalEngine:
    ScriptedModel(answers={"add": "return a + b\n"}).save(folder)
    settings = {"kind": "engine", "artifact": str(folder), "engine": "scripted"}
    data = {"variants": {"light": settings}, "timeouts": timeouts}
    found = make_upstreams(parse_config(data, "test"))["light"][0]
    assert isinstance(found, LocalEngine)
    return found


def test_an_engine_that_hangs_is_ended_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weightcut.routing.server.upstreams.engine._LEAST_S", 0.4)

    async def ask(upstream: LocalEngine) -> None:
        assert upstream._process is not None
        pid = upstream._process.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(UpstreamError, match="done nothing"):
            await asyncio.wait_for(collect(upstream, Call(id="a", prompt="add")), 30)
        monkeypatch.undo()
        for _ in range(600):
            if upstream._process is not None and upstream._process.broken is None:
                break
            await asyncio.sleep(0.05)
        assert upstream._process is not None
        assert upstream._process.pid != pid
        chunks = await collect(upstream, Call(id="b", prompt="add"))
        assert "".join(chunk.text for chunk in chunks) == "return a + b\n"

    using(hanging(tmp_path, first_token_s=0.6, token_s=0.4), ask)


def test_a_probe_ends_an_engine_that_hangs_and_leaves_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(upstream: LocalEngine) -> None:
        first = upstream._process
        assert first is not None
        assert await upstream.healthy()
        assert upstream._process is first
        os.kill(first.pid, signal.SIGSTOP)
        # While it computes, as in a long step, it is left alone.
        monkeypatch.setattr("weightcut.routing.server.upstreams.engine._ALIVE_S", 0.1)
        works = itertools.count(1)
        with monkeypatch.context() as patched:
            patched.setattr(first, "worked", lambda: float(next(works)))
            assert await upstream.healthy()
        assert upstream._process is first
        assert await upstream.healthy()
        assert upstream._process is not first
        assert await collect(upstream, Call(id="b", prompt="add"))

    using(hanging(tmp_path), ask)


def test_an_engine_that_hangs_while_it_opens_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "weightcut.routing.server.upstreams.engine_process"
    write = EngineProcess._write

    def stop(self: EngineProcess, line: bytes) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        write(self, line)

    async def nothing(_upstream: LocalEngine) -> None:
        raise AssertionError("it started")

    with monkeypatch.context() as patched:
        patched.setattr(f"{place}._OPEN_S", 0.3)
        patched.setattr(f"{place}._END_S", 0.1)
        patched.setattr(EngineProcess, "_write", stop)
        with pytest.raises(BrokenInput, match="done nothing"):
            using(hanging(tmp_path), nothing)

    async def ask(upstream: LocalEngine) -> None:
        # One that takes long to load is waited for.
        works = itertools.count(1)
        monkeypatch.setattr(f"{place}._OPEN_S", 0.001)
        monkeypatch.setattr(EngineProcess, "worked", lambda _self: float(next(works)))
        await upstream.close()
        assert await upstream.healthy()

    using(hanging(tmp_path), ask)


def test_what_is_submitted_to_a_broken_engine_is_told_at_once(tmp_path: Path) -> None:
    async def ask(upstream: LocalEngine) -> None:
        process = upstream._process
        assert process is not None
        process.kill("it was told to")
        found: list[object] = []
        request = Request(id="a", prompt="", prompt_ids=(1,), max_new_tokens=1)
        process.submit(request, found.append)
        assert found == [process.broken]

    using(hanging(tmp_path), ask)


def test_an_engine_with_wrong_options_is_refused_before_it_starts(tmp_path: Path) -> None:
    ScriptedModel().save(tmp_path)
    base = {"kind": "engine", "artifact": str(tmp_path)}
    for more, said in (
        ({"engine": "openvino"}, "does not open scripted"),
        ({"engine": "scripted", "options": {"warp": 9}}, "options.warp"),
        ({"engine": "nothing"}, "unknown engine"),
    ):
        with pytest.raises(UsageError, match=said):
            make_upstreams(parse_config({"variants": {"light": base | more}}, "test"))


def test_a_server_whose_engine_does_not_start_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "openvino_model.xml").write_text("<net>")
    (tmp_path / "model" / "openvino_model.bin").write_bytes(b"")
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    write_router(router(), tmp_path / "router")
    (tmp_path / "serve.yaml").write_text(
        "variants: {light: {kind: scripted}, full: {kind: engine, artifact: model}}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "weightcut", "serve", "router", "-c", "serve.yaml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
