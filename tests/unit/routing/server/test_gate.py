from __future__ import annotations

from pathlib import Path

import httpx
import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.serving import Served, chat, config, post, talk

from weightcut.routing.server.admission import Admission
from weightcut.routing.server.gate import Rate
from weightcut.routing.server.keys import Keys, add_key, read_keys
from weightcut.routing.server.problems import Problem


def test_a_key_is_needed_everywhere_but_for_health(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "alice")
    served = Served(config(), Keys(read_keys(file)))

    async def visit(client: httpx.AsyncClient) -> None:
        for path in ("/v1/models", "/metrics", "/openapi.json"):
            answer = await client.get(path)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
            good = await client.get(path, headers={"authorization": f"Bearer {key}"})
            assert good.status_code == 200
        for wrong in (key, f"Basic {key}", f"Bearer {key[:-1]}", "Bearer "):
            denied = await client.get("/v1/models", headers={"authorization": wrong})
            assert denied.status_code == 401
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200

    talk(served, visit)


def test_a_page_that_reaches_us_by_another_name_is_refused() -> None:
    served = Served(config())
    answer = post(served, "/generate", {"prompt": "x"}, headers={"host": "evil.example:80"})
    assert answer.status_code == 403
    named = Served(config(hosts=["models.example"]))
    answer = post(named, "/generate", {"prompt": "x"}, headers={"host": "models.example"})
    assert answer.status_code == 200


def test_what_is_refused_before_its_body_ends_the_connection() -> None:
    served = Served(config())
    answer = post(served, "/generate", {"prompt": "x"}, headers={"host": "evil.example"})
    assert answer.headers["connection"] == "close"


def test_a_body_over_the_limit_is_refused() -> None:
    served = Served(config(limits={"body_bytes": 100}))
    answer = post(served, "/v1/chat/completions", chat("x" * 200))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert served.value("weightcut_rejected_total", status="413", code="body_too_large") == 1


def test_the_limit_holds_without_a_content_length() -> None:
    served = Served(config(limits={"body_bytes": 100}))

    async def send(client: httpx.AsyncClient) -> int:
        async def pieces():  # type: ignore[no-untyped-def]
            for _ in range(10):
                yield b"x" * 50

        return (await client.post("/generate", content=pieces())).status_code

    assert talk(served, send) == 413


def test_a_key_has_its_rate() -> None:
    served = Served(config(limits={"requests_per_minute": 60, "burst": 2}))

    async def send(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post("/generate", json={"prompt": "x"}) for _ in range(3)]

    answers = talk(served, send)
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_a_rate_never_lets_more_through(pauses: list[float]) -> None:
    rate, now, passed = Rate(60, 5), 0.0, 0
    for pause in pauses:
        now += pause
        try:
            rate.take("key", now)
        except Problem:
            continue
        passed += 1
    assert passed <= 5 + now + 1e-6


def test_request_ids_are_kept_where_they_are_harmless() -> None:
    served = Served(config())
    kept = post(served, "/generate", {"prompt": "x"}, headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    odd = post(served, "/generate", {"prompt": "x"}, headers={"x-request-id": 'a"} {'})
    assert odd.headers["x-request-id"] != 'a"} {'


def test_admission_turns_away_at_once_and_says_when_to_come_back() -> None:
    room = Admission(2)
    room.enter(2)
    with pytest.raises(Problem) as caught:
        room.enter(1)
    assert caught.value.status == 429
    assert caught.value.retry_after is not None
    assert 1 <= caught.value.retry_after <= 60
    room.leave(2, 0.5)
    room.enter(1)
