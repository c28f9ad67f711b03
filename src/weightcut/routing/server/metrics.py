"""What `/metrics` shows; deploy/ and a test rely on the names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from weightcut.errors import missing_extra

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_OVERHEAD = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
BREAKER = {"closed": 0, "half-open": 1, "open": 2}


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        try:
            import prometheus_client as prom
        except ImportError as error:
            raise missing_extra("prometheus-client", "serve") from error
        prom.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prom.CollectorRegistry()
        prom.ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Callable[..., Any]:
            return _children(prom.Counter(name, text, labels, registry=self.registry))

        def gauge(name: str, text: str, *labels: str) -> Callable[..., Any]:
            return _children(prom.Gauge(name, text, labels, registry=self.registry))

        def histogram(
            name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
        ) -> Callable[..., Any]:
            made = prom.Histogram(name, text, labels, registry=self.registry, buckets=buckets)
            return _children(made)

        self.requests = counter(
            "weightcut_requests_total", "Requests answered", "endpoint", "variant", "status"
        )
        self.seconds = histogram(
            "weightcut_request_seconds", "From a request's head to its answer's end", "variant"
        )
        self.first_token = histogram(
            "weightcut_first_token_seconds", "From a request's head to its first token", "variant"
        )
        self.overhead = histogram(
            "weightcut_overhead_seconds",
            "Time of a request that no upstream was working for it, waiting for a slot included",
            buckets=_OVERHEAD,
        )
        self.tokens = counter("weightcut_tokens_total", "Tokens", "variant", "kind")
        self.decisions = counter(
            "weightcut_decisions_total", "Choices of a variant, by router or name", "variant", "by"
        )
        self.escalations = counter(
            "weightcut_escalations_total",
            "Answers given by another variant than the chosen one",
            "chosen",
            "answered",
            "why",
        )
        self.attempts = counter(
            "weightcut_upstream_attempts_total", "Tries on an upstream", "upstream", "outcome"
        )
        self.breaker = gauge("weightcut_breaker_state", "0 closed, 1 half-open, 2 open", "upstream")
        self.users = gauge(
            "weightcut_upstream_users", "Requests that hold or await a slot", "upstream"
        )
        self.inside = gauge("weightcut_requests_inside", "Answers in the making or waiting")
        self.rejected = counter(
            "weightcut_rejected_total", "Requests turned away", "status", "code"
        )
        self.gone = counter("weightcut_clients_gone_total", "Clients that left before the end")
        self.cost = counter("weightcut_cost_total", "Cost of the answers", "variant")
        self.cost_full = counter(
            "weightcut_cost_full_total", "What the full model would have cost for all of them"
        )
        self.cost_saved = gauge("weightcut_cost_saved", "weightcut_cost_full_total less the cost")
        self.feedback = counter(
            "weightcut_feedback_total", "Verdicts of users, changed ones too", "variant", "accepted"
        )
        self.shadow = counter(
            "weightcut_shadow_pairs_total", "Prompts answered by two variants", "judged"
        )
        self.shadow_cost = counter(
            "weightcut_shadow_cost_total", "Cost of the answers that only the comparison needed"
        )
        self.shadow_loss = gauge(
            "weightcut_shadow_quality_lost", "Mean quality lost in the judged pairs, as a share"
        )
        self.psi = gauge("weightcut_drift_psi", "Population stability index of the router's scores")
        self.alert = gauge("weightcut_drift_alert", "1 where drift is seen", "kind")

    def render(self) -> tuple[bytes, str]:
        """Return the text for Prometheus and its content type."""
        import prometheus_client as prom

        return prom.generate_latest(self.registry), prom.CONTENT_TYPE_LATEST

    def names(self) -> set[str]:
        """Return every series' name, as queries write them."""
        found = set()
        for family in self.registry.collect():
            ending = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
            found |= {family.name + end for end in ending.get(family.type, ("",))}
        return found


def _children(metric: Any) -> Callable[..., Any]:
    """Return `metric.labels`, remembering the children: looking one up costs more than counting."""
    if not metric._labelnames:
        return lambda: metric

    @cache
    def child(*values: str) -> Any:
        return metric.labels(*values)

    return child
