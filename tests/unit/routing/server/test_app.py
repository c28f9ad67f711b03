from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving import Served, chat, config, events, post, talk

from weightcut.routing.server.calls import Call, Chunk, TokenLogprob
from weightcut.routing.server.drift import Verdicts
from weightcut.routing.server.upstreams.scripted import Scripted
from weightcut.routing.server.upstreams.upstream import CallRefused

LIMITS = {"prompt_tokens": 50, "max_tokens": 100, "choices": 3}


def test_a_chat_is_answered_in_openais_form() -> None:
    body = post(Served(config()), "/v1/chat/completions", chat("hi", n=2, logprobs=True)).json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "light"
    assert [c["index"] for c in body["choices"]] == [0, 1]
    assert body["choices"][0]["message"]["content"] == "a light answer"
    assert body["choices"][0]["finish_reason"] == "stop"
    tokens = body["choices"][0]["logprobs"]["content"]
    assert "".join(t["token"] for t in tokens) == "a light answer"
    assert body["usage"] == {"prompt_tokens": 1, "completion_tokens": 6, "total_tokens": 7}


def test_every_answer_says_who_gave_it_why_and_at_what_cost() -> None:
    answer = post(Served(config()), "/generate", {"prompt": "hi"})
    body = answer.json()
    assert answer.headers["x-weightcut-variant"] == body["variant"] == "light"
    assert "reaches the threshold" in answer.headers["x-weightcut-reason"]
    assert float(answer.headers["x-weightcut-cost"]) == body["cost"] == 1.0
    assert body["scores"]["light"] > 0.5


def test_prices_by_tokens_take_the_place_of_the_routers_costs() -> None:
    prices = {"light": {"prompt_million": 1e6, "completion_million": 2e6}, "full": {}}
    served = Served(config(prices=prices, cost_unit="EUR"))
    body = post(served, "/generate", {"prompt": "hi"}).json()
    assert (body["cost"], body["cost_unit"]) == (1 + 2 * 3, "EUR")


def test_a_stream_says_the_same_in_pieces() -> None:
    body = chat("hi", stream=True, stream_options={"include_usage": True})
    answer = post(Served(config()), "/v1/chat/completions", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-weightcut-variant"] == "light"
    *pieces, last, usage = events(answer.text)
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    said = [e["choices"][0]["delta"].get("content", "") for e in pieces]
    assert said == ["a ", "light ", "answer"]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["weightcut"]["cost"] == 1.0
    assert usage["usage"]["completion_tokens"] == 3


def test_completions_of_several_prompts_keep_their_order_and_offsets() -> None:
    served = Served(config())
    body = {"prompt": ["p", "q"], "logprobs": 1, "max_tokens": 2}
    found = post(served, "/v1/completions", body).json()["choices"]
    assert [(c["index"], c["text"], c["finish_reason"]) for c in found] == [
        (0, "a light ", "length"),
        (1, "a light ", "length"),
    ]
    assert found[1]["logprobs"]["text_offset"] == [0, 2]
    streamed = events(post(served, "/v1/completions", body | {"stream": True}).text)
    for index in (0, 1):
        mine = [e["choices"][0] for e in streamed if e["choices"][0]["index"] == index]
        assert [c["logprobs"]["text_offset"] for c in mine] == [[0], [2], []]


def test_tokens_that_share_a_character_have_its_bytes_and_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = tuple(
        TokenLogprob.of(d, -1.0) for d in (b"a \xe2", b"\x9c", b"\x93\xc3", b"\xa9", b"!")
    )

    async def stream(_self: Scripted, _call: Call) -> AsyncGenerator[Chunk]:
        yield Chunk("a ", 1)
        yield Chunk("\u2713", 2, tokens[:2])
        yield Chunk("\u00e9!", 2, tokens[2:])
        yield Chunk(finish="stop", prompt_tokens=1, completion_tokens=5)

    monkeypatch.setattr(Scripted, "stream", stream)
    served = Served(config())
    said = post(served, "/v1/chat/completions", chat("hi", logprobs=True)).json()["choices"][0]
    found = said["logprobs"]["content"]
    assert [entry["token"] for entry in found] == ["a \\xe2", "\\x9c", "\\x93\\xc3", "\\xa9", "!"]
    whole = bytes(byte for entry in found for byte in entry["bytes"])
    assert whole.decode() == said["message"]["content"] == "a \u2713\u00e9!"
    body = {"prompt": "p", "logprobs": 0}
    text = post(served, "/v1/completions", body).json()["choices"][0]["logprobs"]
    assert text["text_offset"] == [0, 2, 2, 3, 4]
    assert text["tokens"] == [
        "bytes:a \\xe2",
        "bytes:\\x9c",
        "bytes:\\x93\\xc3",
        "bytes:\\xa9",
        "!",
    ]
    streamed = events(post(served, "/v1/completions", body | {"stream": True}).text)
    parts = [one["choices"][0]["logprobs"] for one in streamed]
    assert [at for part in parts for at in part["text_offset"]] == [0, 2, 2, 3, 4]


def test_what_is_null_is_not_given_and_an_answers_message_may_go_back() -> None:
    served = Served(config())
    first = post(served, "/v1/chat/completions", chat("hi", tools=None, top_k=None)).json()
    message = first["choices"][0]["message"] | {"tool_calls": None, "audio": None}
    messages = [*chat("hi")["messages"], message, *chat("go on")["messages"]]
    answer = post(served, "/v1/chat/completions", {"messages": messages})
    assert answer.status_code == 200, answer.text
    assert served.upstream("light").calls[1].messages[1] == {
        "role": "assistant",
        "content": "a light answer",
    }


def test_what_is_asked_reaches_the_upstream() -> None:
    served = Served(config())
    asked = {"temperature": 0.7, "top_p": 0.9, "seed": 5, "stop": ["x"], "max_tokens": 7}
    post(served, "/v1/chat/completions", chat("hi", **asked, n=2))
    first, second = served.upstream("light").calls
    assert (first.temperature, first.top_p, first.stop, first.max_tokens) == (0.7, 0.9, ("x",), 7)
    assert (first.seed, second.seed) == (5, 6)


def test_content_in_parts_and_developer_messages() -> None:
    served = Served(config())
    messages = [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi "}, {"type": "text", "text": "you"}],
        },
    ]
    post(served, "/v1/chat/completions", {"messages": messages})
    assert served.upstream("light").calls[0].messages == (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi you"},
    )


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]
BAD: list[tuple[str, Any, str | None]] = [
    ("/v1/chat/completions", {"messages": []}, "messages"),
    ("/v1/chat/completions", {}, "messages"),
    ("/v1/chat/completions", [], None),
    ("/v1/chat/completions", chat("hi", max_tokens=-1), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens=0), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens=101), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens="5"), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens=True), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens=1.5), "max_tokens"),
    ("/v1/chat/completions", chat("hi", max_tokens=10**30), "max_tokens"),
    ("/v1/chat/completions", chat("hi", temperature=-0.1), "temperature"),
    ("/v1/chat/completions", chat("hi", temperature="hot"), "temperature"),
    ("/v1/chat/completions", chat("hi", top_p=0), "top_p"),
    ("/v1/chat/completions", chat("hi", n=4), "n"),
    ("/v1/chat/completions", chat("hi", n=0), "n"),
    ("/v1/chat/completions", chat("hi", stop=["a"] * 17), "stop"),
    ("/v1/chat/completions", chat("hi", stop=""), "stop"),
    ("/v1/chat/completions", chat("hi", stop=5), "stop"),
    ("/v1/chat/completions", chat("hi", stop=["a", 5]), "stop.1"),
    ("/v1/chat/completions", chat("hi", max_completion_tokens=101), "max_completion_tokens"),
    ("/v1/chat/completions", {"messages": IMAGE}, "messages.0.content.0.type"),
    ("/v1/chat/completions", chat("hi", logit_bias={"1": 5.0}), "logit_bias"),
    ("/v1/chat/completions", chat("hi", presence_penalty=1.0), "presence_penalty"),
    ("/v1/chat/completions", chat("hi", tools=[{"type": "function"}]), "tools"),
    ("/v1/chat/completions", chat("hi", response_format={"type": "json_object"}), None),
    ("/v1/chat/completions", chat("hi", **{"\ud800": 1}), None),
    ("/v1/chat/completions", chat("\ud800"), None),
    ("/v1/chat/completions", chat("  "), "messages"),
    ("/v1/chat/completions", chat("word " * 51), "messages"),
    ("/v1/chat/completions", chat("\u00e9" * 2000), "messages"),
    (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "x" * 4000},
            ],
            "continue_final_message": True,
        },
        "messages",
    ),
    ("/v1/chat/completions", chat("hi", continue_final_message=True), "messages"),
    ("/v1/completions", {"prompt": []}, "prompt"),
    ("/v1/completions", {"prompt": [1, 2]}, None),
    ("/v1/completions", {"prompt": ["a"] * 4}, "prompt"),
    ("/v1/completions", {"prompt": "a", "suffix": "b"}, "suffix"),
    ("/generate", {"prompt": None}, "prompt"),
    ("/generate", {"prompt": {"a": 1}}, "prompt"),
    ("/v1/feedback", {"id": "x", "accepted": 1}, "accepted"),
]


@pytest.mark.parametrize(("path", "body", "param"), BAD, ids=range(len(BAD)))
def test_bad_requests_are_named_in_openais_form(path: str, body: Any, param: str | None) -> None:
    content = json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    served = Served(config(limits=LIMITS))

    async def send(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(path, content=content, headers=headers)

    answer = talk(served, send)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if param is not None:
        assert error["param"] == param
    assert not served.upstream("light").calls


RAW = [
    b"",
    b"{",
    b"null",
    b"\xff\xfe\x00\x01" * 50,
    b'{"prompt": "\xff"}',
    b'{"prompt": NaN}',
    b'{"prompt": "a", "temperature": NaN}',
    b'{"prompt": "a", "temperature": 1e999}',
    b"[" * 100_000,
    b'{"prompt": "a"' + b" " * 10 + b"}{}",
    b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
    b"prompt=a",
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_raw_bodies_that_are_no_request(raw: bytes) -> None:
    served = Served(config())

    async def send(client: httpx.AsyncClient) -> httpx.Response:
        answer = await client.post(
            "/generate", content=raw, headers={"content-type": "application/json"}
        )
        assert (await client.post("/generate", json={"prompt": "a"})).status_code == 200
        return answer

    answer = talk(served, send)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_another_content_type_is_refused() -> None:
    # A page of another origin may send text/plain without asking first, and a body without a type.
    served = Served(config())

    async def send(client: httpx.AsyncClient) -> None:
        for headers in ({"content-type": "text/plain"}, {}):
            answer = await client.post("/generate", content=b'{"prompt": "a"}', headers=headers)
            assert answer.status_code == 400
            assert "Content-Type: application/json" in answer.json()["error"]["message"]

    talk(served, send)
    assert not served.upstream("light").calls


def test_unknown_models_and_paths_are_404() -> None:
    served = Served(config())
    answer = post(served, "/v1/chat/completions", chat("hi", model="fulll"))
    assert answer.status_code == 404
    assert "did you mean 'full'" in answer.json()["error"]["message"]
    assert post(served, "/v1/nothing", {}).json()["error"]["type"] == "not_found_error"
    assert post(served, "/healthz", {}).status_code == 405


def test_models_are_listed() -> None:
    async def ask(client: httpx.AsyncClient) -> list[str]:
        return [model["id"] for model in (await client.get("/v1/models")).json()["data"]]

    assert talk(Served(config()), ask) == ["auto", "light", "full"]


def test_a_model_is_shown_by_its_name() -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/models/light")).json()["id"] == "light"
        unknown = await client.get("/v1/models/a/b")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")

    talk(Served(config()), ask)


def test_feedback_is_taken_for_answers_that_were_given() -> None:
    served = Served(config())

    async def give(client: httpx.AsyncClient) -> None:
        id_ = (await client.post("/generate", json={"prompt": "a"})).json()["id"]
        taken = await client.post("/v1/feedback", json={"id": id_, "accepted": False})
        assert taken.json() == {"id": id_, "variant": "light", "accepted": False}
        unknown = await client.post("/v1/feedback", json={"id": "gen-0", "accepted": True})
        assert unknown.status_code == 404

    talk(served, give)
    assert served.value("weightcut_feedback_total", variant="light", accepted="false") == 1


def test_a_later_verdict_replaces_an_earlier_one(tmp_path: Path) -> None:
    served = Served(config(drift={"folder": str(tmp_path)}))

    async def give(client: httpx.AsyncClient) -> None:
        id_ = (await client.post("/generate", json={"prompt": "a"})).json()["id"]
        for accepted in (False, False, True, True):
            body = {"id": id_, "accepted": accepted}
            assert (await client.post("/v1/feedback", json=body)).status_code == 200

    talk(served, give)
    assert served.value("weightcut_feedback_total", variant="light", accepted="false") == 1
    assert served.value("weightcut_feedback_total", variant="light", accepted="true") == 1
    assert served.shadow._verdicts == Verdicts(light_good=1, light=1)
    rows = (tmp_path / "feedback.jsonl").read_text().splitlines()
    assert [json.loads(row)["accepted"] for row in rows] == [False, True]


def test_not_ready_without_a_healthy_upstream_or_while_draining() -> None:
    failing = {name: {"kind": "scripted", "then": "error"} for name in ("light", "full")}
    served = Served(config(variants=failing, breaker={"minimum": 1}))

    async def visit(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/generate", json={"prompt": "a"})).status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200

    talk(served, visit)
    draining = Served(config())
    draining.service.draining = True
    answer = post(draining, "/generate", {"prompt": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")


def test_a_fault_of_ours_is_500_in_the_same_form_and_hides_its_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = Served(config())

    def fail(_prompt: str) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(type(served.service.router), "decide", lambda _self, p: fail(p))

    async def send(client: httpx.AsyncClient) -> None:
        client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
        answer = await client.post("/generate", json={"prompt": "a"})
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert answer.json()["error"]["type"] == "server_error"
        named = await client.post("/generate", json={"prompt": "a", "model": "full"})
        assert named.status_code == 200

    talk(served, send)
    labels = {"endpoint": "/generate", "variant": "", "status": "500"}
    assert served.value("weightcut_requests_total", **labels) == 1
    assert served.value("weightcut_rejected_total", status="500", code="internal_error") == 1


def test_a_fault_while_answering_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(config())

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(served.service.dispatcher, "stream", fail)

    async def send(client: httpx.AsyncClient) -> None:
        client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
        assert (await client.post("/generate", json={"prompt": "a"})).status_code == 500

    talk(served, send)
    requests = served.metrics.requests
    assert requests("/generate", "light", "500")._value.get() == 1
    assert requests("/generate", "", "500")._value.get() == 0


def test_messages_that_a_chat_template_refuses_are_the_clients_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(_self: Scripted, _call: Call) -> int:
        raise CallRefused("roles must alternate")

    monkeypatch.setattr(Scripted, "prompt_tokens", refuse)
    answer = post(Served(config()), "/v1/chat/completions", chat("hi"))
    assert answer.status_code == 400
    assert "roles must alternate" in answer.json()["error"]["message"]


def test_no_prompt_in_the_log_unless_asked(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="weightcut.serve")
    post(Served(config()), "/generate", {"prompt": "my secret"})
    assert caplog.records
    assert not any("secret" in str(vars(record)) for record in caplog.records)

    async def quote(_self: Scripted, call: Call) -> AsyncGenerator[Chunk]:
        raise CallRefused(f"cannot read {call.text!r}")
        yield Chunk()

    with monkeypatch.context() as patched:
        patched.setattr(Scripted, "stream", quote)
        answer = post(Served(config()), "/generate", {"prompt": "my secret"})
        assert "my secret" in answer.json()["error"]["message"]
    assert any("refused_by_upstream" in str(vars(record)) for record in caplog.records)
    assert not any("secret" in str(vars(record)) for record in caplog.records)
    post(Served(config(log_prompts=True)), "/generate", {"prompt": "my secret"})
    assert any("my secret" in str(vars(record)) for record in caplog.records)
