from __future__ import annotations

import sys

import pytest
from tests.serving import Served, chat, config, post

from weightcut.errors import NotHere
from weightcut.routing.server.tracing import NoSpans, Spans, open_tracer

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_without_an_endpoint_there_are_no_spans() -> None:
    assert isinstance(open_tracer(None), NoSpans)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(NotHere) as caught:
        open_tracer("http://127.0.0.1:4318/v1/traces")
    assert "weightcut[tracing]" in caught.value.cure


def test_spans_tell_of_a_request_and_its_tries_without_its_text() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="the extra tracing is missing")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    variants = {"light": {"kind": "scripted", "then": "error"}, "full": {"kind": "scripted"}}
    served = Served(config(variants=variants), tracer=Spans(provider))
    body = chat("a secret")
    post(served, "/v1/chat/completions", body, headers={"traceparent": PARENT})
    first, second, request = memory.get_finished_spans()
    assert [s.name for s in (first, second)] == ["try light", "try full"]
    assert first.attributes["weightcut.outcome"] == "server"
    assert request.attributes["gen_ai.response.model"] == "full"
    assert format(request.context.trace_id, "032x") == PARENT.split("-")[1]
    assert first.parent.span_id == request.context.span_id
    assert request.start_time <= first.start_time <= second.end_time <= request.end_time + 10**6
    assert "secret" not in str([dict(s.attributes) for s in (first, second, request)])
