"""What stands before every request: its id, its key, its rate, its size, its pace."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from weightcut.routing.server.config import Limits, Timeouts
from weightcut.routing.server.keys import Keys
from weightcut.routing.server.problems import ClientGone, Problem
from weightcut.routing.server.wire import encode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What a load balancer may ask without a key."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Rate:
    """A token bucket for each key."""

    def __init__(self, per_minute: float | None, burst: int) -> None:
        self._per_second = None if per_minute is None else per_minute / 60
        self._burst = float(burst)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float) -> None:
        """Take one request of the key's allowance; Problem 429 with Retry-After if it is spent."""
        if self._per_second is None:
            return
        level, then = self._buckets.get(key, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._per_second)
        self._buckets[key] = (level - 1 if level >= 1 else level, now)
        if level < 1:
            wait = max(1, round((1 - level) / self._per_second + 0.5))
            raise Problem(
                429, "too many requests with this key", code="rate_limited", retry_after=wait
            )


class Gate:
    """An ASGI middleware; the app behind it finds the whole body at once."""

    def __init__(
        self,
        app: App,
        *,
        limits: Limits,
        timeouts: Timeouts,
        keys: Keys | None,
        hosts: frozenset[str],
        rejected: Callable[[str, Problem], None],
    ) -> None:
        self._app, self._limits, self._timeouts = app, limits, timeouts
        self._keys, self._rejected = keys, rejected
        # With keys a page in a browser has nothing to gain from a name that leads here.
        self._hosts = None if keys is not None else _LOCAL | hosts
        self._rate = Rate(limits.requests_per_minute, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with a Problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        id_ = given.decode() if _ID.fullmatch(given) else secrets.token_hex(12)
        state = scope.setdefault("state", {})
        state["request_id"], state["began"] = id_, time.perf_counter()
        named = (b"x-request-id", id_.encode())

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], named]
            await send(message)

        try:
            state["key"] = self._check(scope, headers)
            body = await self._body(headers, receive)
        except ClientGone:
            return
        except Problem as problem:
            self._rejected(id_, problem)
            await refuse(problem, tell)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, tell)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        """Return the key's name; Problem for a wrong host, a wrong key, or too many requests."""
        if self._hosts is not None:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if re.sub(r":\d*$", "", host) not in self._hosts:
                raise Problem(403, "the Host header names another machine", code="wrong_host")
        if scope["path"] in OPEN_PATHS:
            return ""
        name = ""
        if self._keys is not None:
            kind, _, key = headers.get(b"authorization", b"").partition(b" ")
            found = self._keys.name(key.strip()) if kind.lower() == b"bearer" else None
            if found is None:
                message = "a valid API key is needed: Authorization: Bearer KEY"
                raise Problem(401, message, code="invalid_api_key")
            name = found
        if scope["method"] == "POST":
            self._rate.take(name, time.monotonic())
        return name

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Return the body; Problem 413 where it is too large, 408 where it comes too slowly."""
        limit = self._limits.body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeouts.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    piece = message.get("body", b"")
                    size += len(piece)
                    if size > limit:
                        raise _too_large(limit)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            raise Problem(408, "the body came too slowly", code="slow_body") from None


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body has more than {limit} bytes", code="body_too_large")


async def refuse(problem: Problem, send: Send) -> None:
    """Answer with a problem, and close the connection: the request's body was not read."""
    headers = {"content-type": "application/json", "connection": "close"} | problem.headers()
    body = encode(problem.body())
    headers["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
