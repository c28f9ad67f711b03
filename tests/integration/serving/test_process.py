"""The server as a process: clients that are slow, leave or flood; upstreams that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.serving import HARD, ServerProcess, chat, events, router

from weightcut.routing.files import write_router

SLOW = {"kind": "scripted", "reply": "word " * 400, "token_s": 0.02}
SCRIPTED: dict[str, Any] = {
    "variants": {
        "light": {"kind": "scripted", "reply": "a light answer"},
        "slow": SLOW,
        "flood": {"kind": "scripted", "reply": ("x" * 5000 + " ") * 2000},
        "full": {"kind": "scripted", "reply": "the full model's answer"},
    },
    "timeouts": {"head_s": 0.5, "body_s": 0.5, "write_s": 0.5},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    made = router(("light", "slow", "flood", "full"), allowance=0.0)
    with ServerProcess(SCRIPTED, made=made) as found:
        yield found


def wait(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def metric(server: ServerProcess, line: str) -> float:
    text = httpx.get(server.url + "/metrics").text
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def raw(server: ServerProcess, data: bytes, patience: float = 5.0) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), patience) as connection:
        connection.sendall(data)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_openais_client_works_unchanged(server: ServerProcess) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [
            "auto",
            "light",
            "slow",
            "flood",
            "full",
        ]
        messages: Any = [{"role": "user", "content": "hi"}]
        answer = client.chat.completions.create(
            model="auto", messages=messages, logprobs=True, n=2, seed=1, stop=["x"], max_tokens=9
        )
        assert answer.choices[1].message.content == "a light answer"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 7
        assert answer.choices[0].logprobs is not None
        assert answer.model_extra is not None
        assert answer.model_extra["weightcut"]["variant"] == "light"
        assert client.models.retrieve("light").id == "light"
        turns: Any = [*messages, answer.choices[0].message, *messages]
        again = client.chat.completions.create(model="auto", messages=turns)
        assert again.choices[0].message.content == "a light answer"
        whole = client.chat.completions.with_raw_response.create(model="auto", messages=messages)
        assert whole.headers["x-weightcut-variant"] == "light"
        stream = client.chat.completions.create(
            model="full", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        pieces = list(stream)
        said = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        assert said == "the full model's answer"
        assert pieces[-1].usage is not None
        text = client.completions.create(model="light", prompt="hi", logprobs=1, max_tokens=2)
        assert text.choices[0].text == "a light "
        assert text.choices[0].finish_reason == "length"
        streamed = client.completions.create(model="light", prompt="hi", stream=True)
        assert "".join(p.choices[0].text for p in streamed) == "a light answer"
        with pytest.raises(openai.NotFoundError, match="no model"):
            client.chat.completions.create(model="nope", messages=messages)
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="auto", messages=messages, max_tokens=-1)
        assert caught.value.param == "max_tokens"


def test_the_async_client_works_and_may_leave(server: ServerProcess) -> None:
    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(
                model="slow", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            async for piece in stream:
                await stream.close()
                return piece.choices[0].delta.content or ""
        return ""

    before = metric(server, "weightcut_clients_gone_total")
    assert asyncio.run(run()) == "word "
    wait(lambda: metric(server, "weightcut_clients_gone_total") == before + 1)
    wait(lambda: metric(server, "weightcut_requests_inside") == 0)


def test_a_client_that_leaves_before_a_whole_answer_frees_its_slot(server: ServerProcess) -> None:
    before = metric(server, "weightcut_clients_gone_total")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/generate", json={"prompt": "a", "model": "slow"}, timeout=0.3)
    wait(lambda: metric(server, "weightcut_clients_gone_total") == before + 1)
    assert metric(server, 'weightcut_upstream_users{upstream="slow"}') == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow",
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{",
    ],
    ids=["silent", "half a head", "half a body"],
)
def test_slow_clients_are_hung_up_on(server: ServerProcess, data: bytes) -> None:
    answer = raw(server, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")
    assert httpx.get(server.url + "/healthz").status_code == 200


@pytest.mark.parametrize(
    ("head", "late", "status"),
    [
        (b"POST /generate HTTP/1.1\r\nHost: evil\r\nContent-Length: 4\r\n\r\n", b"{}{}", b"403"),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n", b"200"),
    ],
    ids=["the body of a refused request", "an empty line"],
)
def test_late_bytes_do_not_keep_a_connection_open(
    server: ServerProcess, head: bytes, late: bytes, status: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
        with suppress(ConnectionError):
            connection.sendall(late)
            while connection.recv(65536):
                pass


def test_a_client_that_does_not_read_its_stream_frees_its_slot(server: ServerProcess) -> None:
    body = json.dumps(chat("hi", model="flood", stream=True, max_tokens=2000)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head.encode() + body)
        wait(lambda: metric(server, "weightcut_requests_inside") == 1)
        wait(lambda: metric(server, "weightcut_requests_inside") == 0)
        found = 0
        with suppress(ConnectionResetError):
            while piece := connection.recv(1 << 20):
                found += len(piece)
    assert found < 10_000_000


def test_a_trickle_of_head_bytes_does_not_help(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(b"POST /generate HTTP/1.1\r\n")

        def trickle() -> None:
            for index in range(100):
                connection.sendall(b"X-%d: a\r\n" % index)
                time.sleep(0.05)

        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            trickle()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nContent-Length: nan\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["tls", "no http", "odd length", "huge header", "huge path"],
)
def test_what_is_no_request_is_refused(server: ServerProcess, data: bytes) -> None:
    try:
        answer = raw(server, data)
    except ConnectionResetError:
        answer = b""
    assert answer == b"" or re.match(rb"HTTP/1.1 4\d\d", answer)
    assert httpx.get(server.url + "/healthz").status_code == 200


def test_many_clients_at_once_get_each_their_own_answer(server: ServerProcess) -> None:
    def one(index: int) -> tuple[str, str]:
        with httpx.Client(base_url=server.url) as client:
            body = {"prompt": HARD if index % 2 else "short"}
            return body["prompt"], client.post("/generate", json=body).json()["text"]

    with ThreadPoolExecutor(16) as pool:
        for prompt, text in pool.map(one, range(64)):
            assert text == ("the full model's answer" if prompt == HARD else "a light answer")


def test_sigterm_finishes_what_was_accepted_and_takes_no_more() -> None:
    with ServerProcess(
        {**SCRIPTED, "variants": {"slow": {**SLOW, "reply": "word " * 30}, "full": SLOW}}
    ) as server:
        found: list[str] = []

        def ask() -> None:
            body = chat("hi", model="slow", stream=True)
            found.append(httpx.post(f"{server.url}/v1/chat/completions", json=body).text)

        asking = threading.Thread(target=ask)
        asking.start()
        wait(lambda: metric(server, "weightcut_requests_inside") == 1)
        server.process.send_signal(signal.SIGTERM)
        wait(lambda: not _connects(server.port))
        asking.join(10)
        assert len(events(found[0])) == 31
        assert server.process.wait(10) == 0


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_killing_an_upstream_loses_no_request_that_another_can_answer() -> None:
    behind = {"variants": {"slow": SLOW, "full": SLOW}}
    with ServerProcess(behind) as upstream:
        front = {
            "variants": {
                "light": {"kind": "openai", "url": f"{upstream.url}/v1", "model": "slow"},
                "full": {"kind": "scripted", "reply": "word " * 400},
            },
            "retries": {"base_s": 0.01},
            "breaker": {"open_s": 60.0, "minimum": 3},
        }
        with ServerProcess(front) as server, ThreadPoolExecutor(12) as pool:

            def ask(index: int) -> str:
                body = chat("hi", stream=index % 2 == 0, max_tokens=100)
                answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30)
                assert answer.status_code == 200, answer.text
                if index % 2:
                    return str(answer.json()["choices"][0]["message"]["content"])
                parts = (e["choices"][0]["delta"].get("content", "") for e in events(answer.text))
                return "".join(parts)

            asked = [pool.submit(ask, index) for index in range(12)]
            wait(lambda: metric(server, 'weightcut_upstream_users{upstream="light"}') == 12)
            time.sleep(0.3)
            upstream.process.kill()
            assert {one.result() for one in asked} == {"word " * 100}
            assert metric(server, 'weightcut_breaker_state{upstream="light"}') == 2


def test_an_upstream_that_comes_back_is_used_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    front = {
        "variants": {
            "light": {"kind": "openai", "url": f"http://127.0.0.1:{port}/v1", "model": "light"},
            "full": {"kind": "scripted"},
        },
        "retries": {"base_s": 0.0},
        "breaker": {"minimum": 1, "open_s": 0.1, "longest_open_s": 0.2, "recovery": 1},
    }
    with ServerProcess(front) as server:
        url = f"{server.url}/generate"
        assert httpx.post(url, json={"prompt": "a"}).json()["variant"] == "full"
        with ServerProcess(
            SCRIPTED, "--port", str(port), made=router(("light", "slow", "flood", "full"))
        ):
            wait(lambda: httpx.post(url, json={"prompt": "a"}).json()["variant"] == "light")
            answer = httpx.post(f"{server.url}/v1/completions", json={"prompt": "a", "logprobs": 0})
            logprobs = answer.json()["choices"][0]["logprobs"]
            assert "".join(logprobs["tokens"]) == "a light answer"


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weightcut", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=60,
        env=dict(os.environ) | {"COLUMNS": "200"},
    )


def test_beyond_loopback_only_with_keys(tmp_path: Path) -> None:
    write_router(router(), tmp_path / "router")
    (tmp_path / "serve.yaml").write_text(
        "variants: {light: {kind: scripted}, full: {kind: scripted}}"
    )
    words = ("serve", "router", "-c", "serve.yaml", "--port", "0")
    refused = run(*words, "--host", "0.0.0.0", folder=tmp_path)
    assert refused.returncode == 2
    assert "there are no API keys" in refused.stderr
    (tmp_path / "empty.json").write_text('{"keys": []}')
    empty = run(*words, "--host", "0.0.0.0", "--keys", "empty.json", folder=tmp_path)
    assert empty.returncode == 2
    assert "no keys in it" in empty.stderr


def test_the_command_says_what_is_wrong_and_what_it_would_serve(tmp_path: Path) -> None:
    write_router(router(), tmp_path / "router")
    config = tmp_path / "serve.yaml"
    config.write_text("variants: {light: {kind: scripted}, full: {kind: scripted}}")
    words = ("serve", "router", "-c", "serve.yaml")
    good = run(*words, "--check", "--json", folder=tmp_path)
    assert json.loads(good.stdout)["variants"] == ["light", "full"]
    for text, said in (
        ("variants: {light: {kind: scripted}}", "no upstream for the router's variant 'full'"),
        ("variants: {light: {kind: script}}", "variants.light"),
        ("variants: {a: {kind: openai, url: 'file:///etc/passwd', model: x}}", "url"),
        ("variants: [", "not YAML"),
        ("variants: 2026-01-45", "not YAML"),
        ("- a", "no mapping"),
        ("limit: 1", "variants"),
        ("variants: {light: {kind: engine, run: nowhere}, full: {kind: scripted}}", "no run here"),
    ):
        config.write_text(text)
        done = run(*words, "--check", folder=tmp_path)
        assert done.returncode in (1, 2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    alone = run("serve", "router", "--check", folder=tmp_path)
    assert alone.returncode == 2
    assert "--run" in alone.stderr
    facts = tmp_path / "router" / "router.json"
    facts.write_text(facts.read_text().replace('"allowance": 0.1', '"allowance": 0.9'))
    tampered = run(*words, "--check", folder=tmp_path)
    assert tampered.returncode == 1
    assert "digest" in tampered.stderr


def test_a_port_that_is_taken_is_no_traceback(server: ServerProcess, tmp_path: Path) -> None:
    write_router(router(), tmp_path / "router")
    (tmp_path / "serve.yaml").write_text(
        "variants: {light: {kind: scripted}, full: {kind: scripted}}"
    )
    words = ("serve", "router", "-c", "serve.yaml", "--port", str(server.port))
    done = run(*words, folder=tmp_path)
    assert done.returncode == 1
    assert "cannot listen there" in done.stderr
    assert "Traceback" not in done.stderr
