"""schemathesis against the server's own OpenAPI: whatever is sent, the server does not fail."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

schemathesis = pytest.importorskip("schemathesis", reason="the extra dev is not installed")

from tests.serving import Served, config  # noqa: E402

SERVED = Served(config(limits={"choices": 2, "max_tokens": 8}))
schema = schemathesis.openapi.from_asgi("/openapi.json", SERVED.app, headers={"host": "127.0.0.1"})


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case: Any) -> None:
    logging.getLogger("weightcut.serve").setLevel(logging.ERROR)
    response = case.call(headers={"host": "127.0.0.1"})
    assert response.status_code < 500, response.text
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
        ],
    )


def test_a_stream_is_what_the_schema_says() -> None:
    case = schema["/generate"]["POST"].Case(body={"prompt": "a", "stream": True})
    response = case.call(headers={"host": "127.0.0.1"})
    checks = [schemathesis.specs.openapi.checks.response_schema_conformance]
    case.validate_response(response, checks=checks)
