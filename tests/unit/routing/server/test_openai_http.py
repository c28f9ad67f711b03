"""The client of OpenAI-compatible servers, against servers that say all kinds of things."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from weightcut.errors import UsageError
from weightcut.routing.server.calls import Call, Chunk, TokenLogprob
from weightcut.routing.server.config import OpenAIUpstream
from weightcut.routing.server.upstreams.openai_http import OpenAIHTTP
from weightcut.routing.server.upstreams.upstream import CallRefused, PromptTooLong, UpstreamError

CHAT = Call(id="a", messages=({"role": "user", "content": "hi"},), max_tokens=5, stop=("x",))


def sse(*events: Any, done: bool = True) -> bytes:
    lines = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    body = lines + (b"data: [DONE]\n\n" if done else b"")
    return answer(body, "text/event-stream")


def answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def piece(text: str | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **more}]}


def exchange(
    reply: bytes, call: Call = CHAT, **settings: Any
) -> tuple[list[Chunk], dict[str, Any]]:
    """Send a call to a server that gives this reply; return the pieces and what it was sent."""
    asked: dict[str, Any] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        asked.update(json.loads(await reader.readexactly(int(lines["content-length"]))))
        asked["path"], asked["headers"] = head.split()[1], lines
        writer.write(reply)
        writer.close()

    async def run() -> list[Chunk]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        config = {"kind": "openai", "url": f"http://127.0.0.1:{port}/v1", "model": "m", **settings}
        upstream = OpenAIHTTP("light", OpenAIUpstream.model_validate(config))
        try:
            await upstream.start()
            return [chunk async for chunk in upstream.stream(call)]
        finally:
            await upstream.close()
            server.close()
            await server.wait_closed()

    return asyncio.run(run()), asked


def test_an_answer_and_what_was_asked() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    first = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    found, asked = exchange(sse(first, piece("a "), piece("b"), piece(None, "length"), usage))
    assert found == [
        Chunk("a ", 1),
        Chunk("b", 1),
        Chunk(finish="length", prompt_tokens=7, completion_tokens=2),
    ]
    assert asked["path"] == "/v1/chat/completions"
    assert asked["messages"] == [{"role": "user", "content": "hi"}]
    assert (asked["max_tokens"], asked["stop"], asked["stream"]) == (5, ["x"], True)
    assert "logprobs" not in asked


def test_a_text_is_gone_on_with_and_so_is_a_broken_answer() -> None:
    text = {"choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]}
    found, asked = exchange(sse(text), Call(id="a", prompt="p ", sofar="a "))
    assert found[0] == Chunk("b", 1)
    assert (asked["path"], asked["prompt"]) == ("/v1/completions", "p a ")
    _, asked = exchange(sse(piece("c", "stop")), Call(id="a", messages=CHAT.messages, sofar="a "))
    assert asked["messages"][-1] == {"role": "assistant", "content": "a "}
    assert asked["continue_final_message"] is True


def test_log_probabilities_are_read_and_only_shown_when_asked_for() -> None:
    others = [{"token": "b", "logprob": -1.0}]
    one = {"token": "a", "logprob": -0.5, "top_logprobs": others}
    reply = sse(piece("a", "stop", logprobs={"content": [one]}))
    shown = Call(id="a", messages=CHAT.messages, logprobs=1)
    (first, last), asked = exchange(reply, shown)
    assert first.tokens[0].others == (TokenLogprob("b", -1.0),)
    assert last.mean_logprob == -0.5
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 1)
    (first, last), _ = exchange(reply, Call(id="a", messages=CHAT.messages, wants_mean=True))
    assert (first.tokens, last.mean_logprob) == ((), -0.5)


def test_parts_of_characters_keep_their_bytes() -> None:
    half = {"token": "\ufffd", "logprob": -0.5, "bytes": [0xF0, 0x9F]}
    shown = Call(id="a", messages=CHAT.messages, logprobs=0)
    (first, _), _ = exchange(sse(piece("a", "stop", logprobs={"content": [half]})), shown)
    assert first.tokens[0].raw == b"\xf0\x9f"
    logprobs = {
        "tokens": ["bytes:\\xf0\\x9f", "bytes: a"],
        "token_logprobs": [-1.0, -1.0],
        "top_logprobs": [{"bytes:\\xc3": -2.0}, None],
    }
    text = {"choices": [{"index": 0, "text": "", "logprobs": logprobs, "finish_reason": "stop"}]}
    (first, _), _ = exchange(sse(text), Call(id="a", prompt="p", logprobs=1))
    assert [token.raw for token in first.tokens] == [b"\xf0\x9f", b"bytes: a"]
    assert first.tokens[0].others[0].raw == b"\xc3"


def test_half_a_surrogate_pair_of_an_upstream_is_replaced() -> None:
    half = {"token": "\ud83d", "logprob": -0.5}
    shown = Call(id="a", messages=CHAT.messages, logprobs=0)
    found, _ = exchange(sse(piece("\ud83d", "stop", logprobs={"content": [half]})), shown)
    assert (found[0].text, found[0].tokens[0].text) == ("?", "?")


ODD_BYTES: list[Any] = [5, 10**12, [256], [-1], ["a"]]


@pytest.mark.parametrize("data", ODD_BYTES, ids=repr)
def test_bytes_that_are_none_are_a_broken_event_or_left_out(data: Any) -> None:
    one = {"token": "a", "logprob": -0.5, "bytes": data}
    reply = sse(piece("a", "stop", logprobs={"content": [one]}))
    if isinstance(data, list):
        with pytest.raises(UpstreamError):
            exchange(reply)
    else:
        assert exchange(reply)[0][0].text == "a"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "secret")
    _, asked = exchange(sse(piece("a", "stop")), key_env="UPSTREAM_KEY")
    assert asked["headers"]["authorization"] == "bearer secret"
    monkeypatch.delenv("UPSTREAM_KEY")
    with pytest.raises(UsageError, match="UPSTREAM_KEY"):
        exchange(sse(piece("a", "stop")), key_env="UPSTREAM_KEY")


BROKEN: dict[str, bytes] = {
    "no json": answer(b"data: {\n\n", "text/event-stream"),
    "a list": sse([1]),
    "choices that are none": sse({"choices": 5}),
    "a delta that is none": sse({"choices": [{"delta": 5}]}),
    "odd log-probabilities": sse(piece("a", logprobs={"content": [{"token": 1}]})),
    "binary": answer(b"\ndata: " + bytes(range(11, 256)) + b"\n\n", "text/event-stream"),
    "an error in the stream": sse(piece("a"), {"error": {"message": "out of memory"}}),
    "no http": b"SSH-2.0-OpenSSH\r\n",
    "nothing": b"",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: {",
    "a redirect": answer(b"", status="302 Found\r\nLocation: http://127.0.0.1:1/"),
    "a page": answer(b"<html>Bad gateway</html>", "text/html", "502 Bad Gateway"),
    "no such model": answer(b'{"error": {"message": "no model m"}}', status="404 Not Found"),
    "a wrong key": answer(b"{}", status="401 Unauthorized"),
    "overloaded": answer(b'{"error": {"message": "busy"}}', status="429 Too Many Requests"),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_what_is_no_answer_lets_another_upstream_try(reply: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        exchange(reply)
    assert (caught.value.why == "overloaded") == (b" 429 " in reply)


def test_an_answer_whose_end_is_not_said_has_no_last_piece() -> None:
    # The dispatcher takes that for a broken transport.
    found, _ = exchange(sse(piece("a"), done=False))
    assert found == [Chunk("a", 1)]


def test_a_refusal_is_told_from_a_prompt_that_is_too_long() -> None:
    bad = b'{"error": {"message": "roles must alternate"}}'
    with pytest.raises(CallRefused, match="alternate"):
        exchange(answer(bad, status="400 Bad Request"))
    long = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    with pytest.raises(PromptTooLong):
        exchange(answer(long, status="400 Bad Request"))


def test_an_event_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "weightcut.routing.server.upstreams.openai_http._LONGEST_LINE"
    monkeypatch.setattr(place, 1000)
    with pytest.raises(UpstreamError, match="does not end"):
        exchange(answer(b"data: " + b"x" * 5000, "text/event-stream"))


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    async def run() -> bool:
        config = {"kind": "openai", "url": "http://127.0.0.1:1/v1", "model": "m"}
        upstream = OpenAIHTTP("light", OpenAIUpstream.model_validate(config))
        await upstream.start()
        with pytest.raises(UpstreamError):
            await anext(upstream.stream(CHAT))
        healthy = await upstream.healthy()
        await upstream.close()
        return healthy

    assert asyncio.run(run()) is False
