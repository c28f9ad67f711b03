from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.serving import HARD, Served, chat, config, events, post, router, talk

from weightcut.routing.router import Decision, Router, Signals
from weightcut.routing.server.calls import Call
from weightcut.routing.server.pool import Pool
from weightcut.routing.server.problems import Problem
from weightcut.routing.server.service import Plan, Service
from weightcut.routing.server.upstreams.make import make_upstreams


def variants(light: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    return {
        "light": {"kind": "scripted", "reply": "one two three", **light},
        "full": {"kind": "scripted", "reply": "one two three", **full},
    }


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["weightcut"]
    return found


def test_the_router_chooses_by_the_prompt() -> None:
    served = Served(config())
    assert told(post(served, "/v1/chat/completions", chat("short")))["variant"] == "light"
    assert told(post(served, "/v1/chat/completions", chat(HARD)))["variant"] == "full"


@pytest.mark.parametrize("failure", ["error", "overloaded", "break"])
def test_a_failing_light_variant_is_replaced_by_the_full_one(failure: str) -> None:
    served = Served(config(variants=variants({"then": failure}, {})))
    found = told(post(served, "/v1/chat/completions", chat("short")))
    assert (found["chosen"], found["variant"]) == ("light", "full")
    assert [a["outcome"] for a in found["attempts"]][-1] == "ok"
    labels = {"chosen": "light", "answered": "full", "why": "failure"}
    assert served.value("weightcut_escalations_total", **labels) == 1


def test_a_failing_full_variant_is_replaced_by_the_best_healthy_one() -> None:
    three = {
        "small": {"kind": "scripted"},
        "medium": {"kind": "scripted"},
        "full": {"kind": "scripted", "then": "error"},
    }
    served = Served(config(variants=three))
    found = told(post(served, "/v1/chat/completions", chat(HARD)))
    assert (found["chosen"], found["variant"]) == ("full", "medium")


def test_the_best_by_measured_quality_comes_before_the_dearest() -> None:
    names = ("small", "medium", "full")
    three: dict[str, Any] = {name: {"kind": "scripted"} for name in names}
    three["full"]["then"] = "error"
    made = replace(router(names), qualities=(0.7, 0.4, 0.8))
    served = Served(config(variants=three), made=made)
    found = told(post(served, "/v1/chat/completions", chat(HARD)))
    assert (found["chosen"], found["variant"]) == ("full", "small")


def test_a_passing_failure_is_retried_and_a_variant_asked_by_name_is_not_replaced() -> None:
    served = Served(config(variants=variants({"script": ["error"]}, {})))
    found = told(post(served, "/v1/chat/completions", chat("short", model="light")))
    assert [a["outcome"] for a in found["attempts"]] == ["server", "ok"]
    broken = Served(config(variants=variants({"then": "error"}, {})))
    answer = post(broken, "/v1/chat/completions", chat("short", model="light"))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert broken.value("weightcut_rejected_total", status="503", code="no_upstream") == 1
    assert not broken.upstream("full").calls


def test_silence_is_timed_out() -> None:
    timeouts = {"first_token_s": 0.05, "total_s": 5}
    served = Served(config(variants=variants({"then": "hang"}, {}), timeouts=timeouts))
    found = told(post(served, "/v1/chat/completions", chat("short")))
    assert [a["outcome"] for a in found["attempts"]] == ["timeout", "ok"]
    both = variants({"then": "hang"}, {"then": "hang"})
    nobody = Served(config(variants=both, timeouts=timeouts))
    assert post(nobody, "/v1/chat/completions", chat("short")).status_code == 504


def test_the_whole_time_is_bounded_and_its_end_blames_nobody() -> None:
    hangs = variants({"then": "hang"}, {"then": "hang"})
    served = Served(config(variants=hangs, timeouts={"total_s": 0.05}))
    assert post(served, "/v1/chat/completions", chat("short")).status_code == 504
    assert served.value("weightcut_upstream_attempts_total", upstream="light", outcome="deadline")


def test_a_stream_that_breaks_is_continued_elsewhere() -> None:
    served = Served(config(variants=variants({"then": "break"}, {})))
    answer = post(served, "/v1/chat/completions", chat("short", stream=True))
    found = events(answer.text)
    said = "".join(e["choices"][0]["delta"].get("content", "") for e in found)
    assert said == "one two three"
    assert found[-1]["weightcut"]["variant"] == "full"
    assert [c.sofar for c in served.upstream("full").calls] == ["one "]
    assert served.upstream("full").calls[0].max_tokens == 255


def test_a_whole_answer_comes_from_one_variant() -> None:
    served = Served(config(variants=variants({"then": "break"}, {"reply": "four five"})))
    answer = post(served, "/generate", {"prompt": "short"}).json()
    assert answer["text"] == "four five"


def test_a_stream_that_nobody_can_finish_ends_with_an_error() -> None:
    served = Served(config(variants=variants({"then": "break"}, {"then": "error"})))
    answer = post(served, "/v1/chat/completions", chat("short", stream=True))
    last = answer.text.strip().split("\n\n")[-1]
    assert '"code":"no_upstream"' in last
    assert served.value("weightcut_rejected_total", status="503", code="no_upstream") == 1
    assert served.service.admission.inside == 0


def test_a_breaker_opens_and_spares_the_upstream() -> None:
    breaker = {"minimum": 3, "open_s": 60, "longest_open_s": 60}
    served = Served(config(variants=variants({"then": "error"}, {}), breaker=breaker))

    async def send(client: httpx.AsyncClient) -> None:
        for _ in range(10):
            answer = await client.post("/v1/chat/completions", json=chat("short"))
            assert answer.json()["weightcut"]["variant"] == "full"
        text = (await client.get("/metrics")).text
        assert 'weightcut_breaker_state{upstream="light"} 2.0' in text

    talk(served, send)
    assert len(served.upstream("light").calls) == 3


def test_overload_says_nothing_against_an_upstreams_health() -> None:
    served = Served(config(variants=variants({"then": "overloaded"}, {}), breaker={"minimum": 2}))

    async def send(client: httpx.AsyncClient) -> None:
        for _ in range(5):
            await client.post("/v1/chat/completions", json=chat("short"))

    talk(served, send)
    assert len(served.upstream("light").calls) == 5


def test_replicas_share_the_load_and_stand_in_for_each_other() -> None:
    two = {
        "light": [{"kind": "scripted", "then": "error"}, {"kind": "scripted", "reply": "second"}],
        "full": {"kind": "scripted"},
    }
    served = Served(config(variants=two))
    found = told(post(served, "/v1/chat/completions", chat("short", model="light")))
    assert [a["upstream"] for a in found["attempts"]] == ["light", "light-2"]


def test_a_refusal_is_the_clients_and_is_not_retried() -> None:
    served = Served(config(variants=variants({"then": "refuse"}, {"then": "refuse"})))
    answer = post(served, "/v1/chat/completions", chat("short"))
    assert answer.status_code == 400
    assert len(served.upstream("light").calls) == len(served.upstream("full").calls) == 1


@pytest.mark.parametrize("then", ["error", "overloaded"])
def test_a_request_is_at_fault_only_where_every_variant_refuses_it(then: str) -> None:
    served = Served(config(variants=variants({"then": "refuse"}, {"then": then})))
    answer = post(served, "/v1/chat/completions", chat("short"))
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    refusing = variants({"then": "refuse"}, {"then": "error"})
    open_ = Served(config(variants=refusing, breaker={"minimum": 1, "open_s": 60}))

    async def send(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await client.post("/v1/chat/completions", json=chat("short"))
            assert answer.status_code == 503

    talk(open_, send)


def test_a_prompt_longer_than_a_context_goes_where_there_is_room() -> None:
    served = Served(config(variants=variants({"context": 300}, {})))
    assert told(post(served, "/v1/completions", {"prompt": "a " * 45}))["variant"] == "full"
    small = Served(config(variants=variants({"context": 300}, {"context": 300})))
    answer = post(small, "/v1/completions", {"prompt": "a " * 100})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_a_text_that_is_too_long_for_all_is_named_as_it_was_sent() -> None:
    short = variants({"context": 3}, {"context": 3})
    served = Served(config(variants=short))
    for path, body, param in (
        ("/v1/completions", {"prompt": "a b c"}, "prompt"),
        ("/v1/chat/completions", chat("a b c"), "messages"),
    ):
        answer = post(served, path, body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param


def test_slots_bound_what_an_upstream_gets_at_a_time() -> None:
    slow = variants({"slots": 2, "first_token_s": 0.02}, {})
    served = Served(config(variants=slow))
    most = 0

    async def send(client: httpx.AsyncClient) -> None:
        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, served.upstream("light").open)
                await asyncio.sleep(0.001)

        watching = asyncio.create_task(watch())
        bodies = [chat("short") for _ in range(8)]
        await asyncio.gather(*(client.post("/v1/chat/completions", json=b) for b in bodies))
        watching.cancel()

    talk(served, send)
    assert most == 2


def test_beyond_the_room_requests_are_turned_away_at_once() -> None:
    slow = variants({"first_token_s": 0.2}, {})
    served = Served(config(variants=slow, limits={"running": 3}))

    async def send(client: httpx.AsyncClient) -> list[httpx.Response]:
        bodies = [chat("short") for _ in range(8)]
        return await asyncio.gather(*(client.post("/v1/chat/completions", json=b) for b in bodies))

    answers = talk(served, send)
    assert sorted(a.status_code for a in answers) == [200] * 3 + [429] * 5
    refused = [a for a in answers if a.status_code == 429]
    assert all(int(a.headers["retry-after"]) >= 1 for a in refused)
    assert served.value("weightcut_rejected_total", status="429", code="overloaded") == 5
    assert served.service.admission.inside == 0


def test_whoever_waits_for_a_decision_has_room_already(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(config(limits={"running": 3}))
    decide = threading.Event()

    async def plan(_self: Service, _model: str, _call: Call) -> Plan:
        await asyncio.to_thread(decide.wait, 30)
        raise Problem(404, "there is no such model")

    monkeypatch.setattr(Service, "plan", plan)

    async def send(client: httpx.AsyncClient) -> list[int]:
        sent = [
            asyncio.ensure_future(client.post("/v1/chat/completions", json=chat("short")))
            for _ in range(8)
        ]
        try:
            async with asyncio.timeout(20):
                while sum(one.done() for one in sent) < 5:
                    await asyncio.sleep(0.001)
        finally:
            decide.set()
        return sorted([answer.status_code for answer in await asyncio.gather(*sent)])

    assert talk(served, send) == [404] * 3 + [429] * 5
    assert served.service.admission.inside == 0


def test_a_probe_that_takes_long_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightcut.routing.server.pool.PROBE_EVERY", 0.001)
    settings = config(breaker={"minimum": 1, "open_s": 0.01, "recovery": 2})
    pool = Pool(make_upstreams(settings), settings.breaker)
    first, second = pool.endpoints()

    async def run() -> None:
        for endpoint in (first, second):
            token = endpoint.breaker.allow(0.0)
            assert token is not None
            endpoint.breaker.record(token, False, asyncio.get_running_loop().time())
        monkeypatch.setattr(first.upstream, "healthy", asyncio.Event().wait)
        watching = asyncio.create_task(pool.watch())
        async with asyncio.timeout(30):
            while second.breaker.state(asyncio.get_running_loop().time()) != "closed":
                await asyncio.sleep(0.001)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert watching.cancelled()

    asyncio.run(run())


class Cascading(Router):
    """A router whose light variant answers first, and whose judge wants certain answers."""

    @property
    def cascades(self) -> bool:
        return True

    def decide(self, prompt: str) -> Decision:
        return Decision("light", {"light": 0.5, "full": 0.5}, "it answers first")

    def accepts(self, prompt: str, variant: str, signals: Signals) -> bool:
        return (signals.mean_logprob or 0) > -1


@pytest.mark.parametrize("stream", [False, True])
def test_a_cascade_escalates_answers_that_its_judge_rejects(stream: bool) -> None:
    made = router()
    cascading = Cascading(made.variants, made.costs, made.qualities, made.policy, 0.1)
    for logprob, variant, cost in ((-0.1, "light", 1.0), (-2.0, "full", 3.0)):
        settings = variants({"logprob": logprob}, {"reply": "four five"})
        served = Served(config(variants=settings), made=cascading)
        answer = post(served, "/v1/chat/completions", chat("short", stream=stream))
        found = events(answer.text)[-1]["weightcut"] if stream else told(answer)
        assert (found["variant"], found["cost"]) == (variant, cost)
        assert answer.headers["x-weightcut-variant"] == variant
        assert found["escalated"] == ([] if variant == "light" else ["light"])
        labels = {"chosen": "light", "answered": "full", "why": "quality"}
        assert served.value("weightcut_escalations_total", **labels) == (variant == "full")
        assert ("four" in answer.text) == (variant == "full")


@pytest.mark.parametrize("then", ["error", "hang", "refuse"])
def test_a_rejected_draft_is_the_answer_where_the_full_model_fails(then: str) -> None:
    made = router()
    cascading = Cascading(made.variants, made.costs, made.qualities, made.policy, 0.1)
    settings = variants({"logprob": -2.0}, {"then": then})
    timeouts = {"total_s": 1.0}
    served = Served(config(variants=settings, timeouts=timeouts), made=cascading)
    found = told(post(served, "/v1/chat/completions", chat("short")))
    assert (found["variant"], found["cost"]) == ("light", 1.0)
    assert found["escalated"] == ["light"]
    assert "answers of light were not good enough, but there was no better one" in found["reason"]
    assert len(served.upstream("light").calls) == 1


def test_both_passes_of_a_cascade_share_one_deadline() -> None:
    made = router()
    cascading = Cascading(made.variants, made.costs, made.qualities, made.policy, 0.1)
    settings = variants({"logprob": -2.0, "first_token_s": 0.8}, {"first_token_s": 0.8})
    served = Served(config(variants=settings, timeouts={"total_s": 1.4}), made=cascading)
    assert told(post(served, "/v1/chat/completions", chat("short")))["variant"] == "light"


def test_a_cascade_does_not_ask_the_full_model_twice_when_the_light_one_fails() -> None:
    made = router()
    cascading = Cascading(made.variants, made.costs, made.qualities, made.policy, 0.1)
    settings = variants({"then": "error"}, {})
    served = Served(config(variants=settings), made=cascading)
    found = told(post(served, "/v1/chat/completions", chat("short")))
    assert found["variant"] == "full"
    assert len(served.upstream("full").calls) == 1


def test_a_router_that_embeds_prompts_decides_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    decide = Router.decide

    def noted(self: Router, prompt: str) -> Decision:
        threads.append(threading.current_thread())
        return decide(self, prompt)

    monkeypatch.setattr(Router, "decide", noted)
    for embeds in (False, True):
        monkeypatch.setattr(Router, "embeds", embeds)
        assert told(post(Served(config()), "/v1/chat/completions", chat("hi")))["by"] == "router"
    main = threading.main_thread()
    assert [thread is main for thread in threads] == [True, False]
