"""OpenTelemetry traces, where the extra is installed and the config names an endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from weightcut.errors import missing_extra
from weightcut.routing.server.ledger import Ledger


class Tracer(Protocol):
    """Takes requests that have ended."""

    def request(self, ledger: Ledger, headers: Mapping[str, str], seconds: float) -> None:
        """Write a request's span, and one for each try on an upstream."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class Spans:
    """Spans by OpenTelemetry; a client's `traceparent` is their parent. No text is in them."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("weightcut.serve")

    def request(self, ledger: Ledger, headers: Mapping[str, str], seconds: float) -> None:
        """Write a request's span, and one for each try on an upstream."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Spans are written once the request has ended, so clocks are compared at that moment.
        offset = time.time() - time.perf_counter()
        parent = TraceContextTextMapPropagator().extract(dict(headers))
        first = ledger.choices[0]
        span = self._tracer.start_span(
            ledger.endpoint,
            context=parent,
            start_time=_nanoseconds(ledger.began + offset),
            attributes={
                "gen_ai.request.model": ledger.requested,
                "gen_ai.response.model": first.variant,
                "gen_ai.usage.input_tokens": ledger.usage()["prompt_tokens"],
                "gen_ai.usage.output_tokens": ledger.usage()["completion_tokens"],
                "http.response.status_code": ledger.status,
                "weightcut.request_id": ledger.request_id,
                "weightcut.chosen": first.plan.decided,
                "weightcut.reason": first.plan.reason,
                "weightcut.cost": ledger.cost,
            },
        )
        within = set_span_in_context(span)
        for choice in ledger.choices:
            for attempt in choice.answer.trail.attempts:
                child = self._tracer.start_span(
                    f"try {attempt.upstream}",
                    context=within,
                    start_time=_nanoseconds(attempt.begun + offset),
                    attributes={"weightcut.outcome": attempt.outcome},
                )
                child.end(_nanoseconds((attempt.ended or attempt.begun) + offset))
        span.end(_nanoseconds(ledger.began + seconds + offset))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class NoSpans:
    """No traces."""

    def request(self, ledger: Ledger, headers: Mapping[str, str], seconds: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def open_tracer(endpoint: str | None) -> Tracer:
    """Return the tracer of an OTLP/HTTP endpoint (`http://host:4318/v1/traces`), or none."""
    if endpoint is None:
        return NoSpans()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise missing_extra("opentelemetry-exporter-otlp-proto-http", "tracing") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "weightcut"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Spans(provider)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
