"""The HTTP server: routes, and the form of every error.

Annotations are no strings here, as FastAPI reads those of the routes, and their types are imported
inside functions.
"""

import asyncio
import secrets
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from weightcut.errors import missing_extra
from weightcut.routing.server import logs, wire
from weightcut.routing.server.accounts import Accounts
from weightcut.routing.server.answers import (
    ChatCompletion,
    Completion,
    Failure,
    FeedbackTaken,
    Generated,
    Health,
    Model,
    ModelList,
)
from weightcut.routing.server.calls import Call
from weightcut.routing.server.gate import Gate
from weightcut.routing.server.keys import Keys
from weightcut.routing.server.metrics import Metrics
from weightcut.routing.server.problems import ClientGone, Problem
from weightcut.routing.server.respond import Responder
from weightcut.routing.server.schema import (
    AUTO,
    ChatRequest,
    CompletionRequest,
    FeedbackRequest,
    GenerateRequest,
    Sampling,
)
from weightcut.routing.server.service import Service, per_choice
from weightcut.routing.server.shadow import Shadow
from weightcut.routing.server.tracing import NoSpans, Tracer

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure} for status in (400, 401, 403, 404, 405, 408, 413, 429, 500, 503, 504)
}
# Without a schema: whether it is of the whole text or of each event, readers do not agree.
_STREAM: dict[str, Any] = {"content": {"text/event-stream": {}}}


def build_app(
    service: Service,
    metrics: Metrics,
    shadow: Shadow,
    keys: Keys | None = None,
    tracer: Tracer | None = None,
) -> Gate:
    """Return the ASGI app of a service; keys: None lets everybody in."""
    try:
        from fastapi import FastAPI
        from fastapi.exceptions import RequestValidationError
        from starlette.exceptions import HTTPException
    except ImportError as error:
        raise missing_extra("fastapi", "serve") from error
    config = service.config
    accounts = Accounts(service, metrics, tracer or NoSpans())
    app = FastAPI(
        title="weightcut",
        version=version("weightcut"),
        description="The lightest model that still answers well, behind OpenAI's API.",
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: _handler(accounts, _as_it_is),
            RequestValidationError: _handler(accounts, _invalid),
            HTTPException: _handler(accounts, _http),
            ClientGone: _on_gone,
            Exception: _on_failure(accounts),
        },
    )
    _answers(app, service, Responder(service, accounts, shadow))
    _about(app, service, accounts, shadow)
    return Gate(
        app,
        limits=config.limits,
        timeouts=config.timeouts,
        keys=keys,
        hosts=frozenset(config.hosts),
        rejected=accounts.rejected,
    )


def _answers(app: "FastAPI", service: Service, responder: Responder) -> None:
    """Add the routes that answer prompts."""
    from fastapi import Request, Response

    async def respond(
        request: Request, form: wire.Form, body: Sampling, prompts: list[Call]
    ) -> Response:
        calls = [call for prompt in prompts for call in per_choice(prompt, body.n or 1)]
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return await responder.respond(
            request, form, body.model, calls, stream=bool(body.stream), include_usage=usage
        )

    def call(body: Sampling, **more: Any) -> Call:
        return to_call(service, body, **more)

    @app.post(
        "/v1/chat/completions",
        response_model=ChatCompletion,
        responses={200: _STREAM, **_ERRORS},
        summary="Answer a chat",
    )
    async def chat(request: Request, body: ChatRequest) -> Response:
        messages = tuple(message.plain() for message in body.messages)
        sofar = ""
        if body.continue_final_message:
            if messages[-1]["role"] != "assistant" or len(messages) == 1:
                raise Problem(400, "the last message is not the assistant's", param="messages")
            messages, sofar = messages[:-1], messages[-1]["content"]
        wanted = body.top_logprobs or 0 if body.logprobs else None
        limit = body.max_completion_tokens or body.max_tokens
        one = call(body, messages=messages, sofar=sofar, logprobs=wanted, max_tokens=limit)
        return await respond(request, wire.CHAT, body, [one])

    @app.post(
        "/v1/completions",
        response_model=Completion,
        responses={200: _STREAM, **_ERRORS},
        summary="Go on with a text",
    )
    async def completions(request: Request, body: CompletionRequest) -> Response:
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        if not prompts:
            raise Problem(400, "there is no prompt", param="prompt")
        limit = service.config.limits.choices
        if len(prompts) * (body.n or 1) > limit:
            raise Problem(400, f"at most {limit} answers to one request", param="prompt")
        calls = [
            call(body, prompt=text, logprobs=body.logprobs, max_tokens=body.max_tokens)
            for text in prompts
        ]
        return await respond(request, wire.TEXT, body, calls)

    @app.post(
        "/generate",
        response_model=Generated,
        responses={200: _STREAM, **_ERRORS},
        summary="Answer a prompt: the simple form",
    )
    async def generate(request: Request, body: GenerateRequest) -> Response:
        messages = ({"role": "user", "content": body.prompt},)
        one = call(body, messages=messages, max_tokens=body.max_tokens)
        return await respond(request, wire.SIMPLE, body, [one])


def to_call(service: Service, body: Sampling, *, max_tokens: int | None, **more: Any) -> Call:
    """Return what is asked of an upstream; Problem where it is more than may be asked."""
    limits = service.config.limits
    body.refuse_unsupported()
    if max_tokens is not None and max_tokens > limits.max_tokens:
        message = f"at most {limits.max_tokens} tokens may be asked for"
        named = "max_completion_tokens"
        param = named if getattr(body, named, None) else "max_tokens"
        raise Problem(400, message, param=param)
    if (body.n or 1) > limits.choices:
        raise Problem(400, f"at most {limits.choices} answers to one request", param="n")
    made = Call(
        id=secrets.token_hex(8),
        max_tokens=max_tokens or min(limits.default_max_tokens, limits.max_tokens),
        stop=body.stops(),
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=secrets.randbits(31) if body.seed is None else body.seed,
        **more,
    )
    said = [made.prompt, made.sofar, *made.stop, *(m["content"] for m in made.messages)]
    try:
        "".join(said).encode()
    except UnicodeEncodeError:
        raise Problem(400, "half a surrogate pair is no text", code="invalid_text") from None
    if not made.text.strip():
        raise Problem(400, "the prompt is empty", param="messages" if made.messages else "prompt")
    return made


def _about(app: "FastAPI", service: Service, accounts: Accounts, shadow: Shadow) -> None:
    """Add the routes that tell of the server, and take feedback."""
    from fastapi import Response

    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "weightcut"}

    @app.get("/v1/models", response_model=ModelList, responses=_ERRORS)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [entry(name) for name in (AUTO, *service.variants)]}

    @app.get("/v1/models/{name:path}", response_model=Model, responses=_ERRORS)
    async def model(name: str) -> dict[str, Any]:
        service.check_name(name)
        return entry(name)

    @app.post("/v1/feedback", response_model=FeedbackTaken, responses=_ERRORS)
    async def feedback(body: FeedbackRequest) -> dict[str, Any]:
        known = accounts.recall(body.id)
        if known is None:
            raise Problem(404, "no recent answer has this id", code="unknown_id", param="id")
        shadow.feedback(body, known)
        return {"id": body.id, "variant": known.variant, "accepted": body.accepted}

    @app.get("/healthz", response_model=Health)
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", response_model=Health, responses={503: {"model": Failure}})
    async def readyz() -> dict[str, str]:
        if service.draining:
            raise Problem(503, "the server is shutting down", code="draining")
        if not service.pool.ready(asyncio.get_running_loop().time()):
            raise Problem(503, "no upstream is healthy", code="no_upstream")
        return {"status": "ready"}

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        accounts.refresh(asyncio.get_running_loop().time())
        text, kind = accounts.metrics.render()
        return Response(text, media_type=kind)


def _failure(problem: Problem) -> "Response":
    from fastapi import Response

    return Response(
        wire.encode(problem.body()),
        status_code=problem.status,
        headers=problem.headers(),
        media_type="application/json",
    )


def _handler(accounts: Accounts, read: Callable[[Any], Problem]) -> Callable[..., Any]:
    """Return the handler of one kind of exception: it is read as a Problem, counted and told."""

    async def handle(request: "Request", error: Exception) -> "Response":
        problem = read(error)
        accounts.rejected(request.scope["state"].get("request_id", ""), problem)
        return _failure(problem)

    return handle


def _as_it_is(problem: Problem) -> Problem:
    return problem


def _invalid(error: Any) -> Problem:
    """Name the first thing that is wrong; what was sent is not repeated."""
    first = _deepest(error.errors())
    # Which branch of a union it is says pydantic, not the client.
    named = (str(part) for part in first["loc"] if part not in ("body", "str"))
    place = ".".join(part for part in named if not part.startswith("list["))
    if isinstance(first.get("input"), bytes):
        return Problem(400, "the body is to be JSON, with Content-Type: application/json")
    if first["type"] == "json_invalid":
        return Problem(400, "the body is not JSON", code="invalid_json")
    if first["type"] == "extra_forbidden":
        return Problem(400, f"unknown or unsupported: {place}", param=place)
    message = f"{place}: {first['msg']}" if place else f"the body: {first['msg']}"
    return Problem(400, message, param=place or None)


def _deepest(errors: Any) -> Any:
    """Return the first error, or what is wrong deeper within the same value.

    Each branch of a union has an error; the deepest is that of the branch that was meant.
    """
    within = errors[0]["loc"][:-1]
    same = [one for one in errors if one["loc"][: len(within)] == within and len(within) > 1]
    return max(same, key=lambda one: len(one["loc"]), default=errors[0])


def _http(error: Any) -> Problem:
    return Problem(error.status_code, str(error.detail))


async def _on_gone(_request: "Request", _error: Exception) -> "Response":
    from fastapi import Response

    return Response(status_code=499)


def _on_failure(accounts: Accounts) -> Callable[..., Any]:
    """Return the handler of faults of ours: they are logged, and counted once."""

    async def handle(request: "Request", error: Exception) -> "Response":
        state = request.scope["state"]
        id_ = state.get("request_id", "")
        said = "".join(traceback.format_exception(error))
        logs.say("failure", level=40, request_id=id_, traceback=said)
        problem = Problem(500, "the server failed; its log says why", code="internal_error")
        if "ledger" not in state:
            accounts.failed(id_, request.url.path, problem)
        return _failure(problem)

    return handle
