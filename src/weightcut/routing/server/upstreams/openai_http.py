"""A variant answered by an OpenAI-compatible server: vLLM, llama-server, Ollama, weightcut."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from weightcut.errors import UsageError, missing_extra
from weightcut.routing.server.calls import Call, Chunk, Finish, TokenLogprob
from weightcut.routing.server.config import OpenAIUpstream
from weightcut.routing.server.upstreams.upstream import CallRefused, PromptTooLong, UpstreamError

_HEALTH_S = 3.0
_LONGEST_LINE = 4_000_000
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_KEPT = 2_000
"""Characters of an upstream's error that are handed on."""


class OpenAIHTTP:
    """Streams every answer, so that a silent server is noticed and an unwanted answer can stop."""

    def __init__(self, name: str, settings: OpenAIUpstream) -> None:
        self.name, self.slots, self.continues = name, settings.slots, settings.continues
        self._settings = settings
        self._base = settings.url.rstrip("/")
        self._client: Any = None

    def describe(self) -> str:
        """Return what it is."""
        return f"{self._settings.model} at {self._base}"

    async def start(self) -> None:
        """Make the client; whether the server is there shows with the first request."""
        try:
            import httpx
        except ImportError as error:
            raise missing_extra("httpx", "serve") from error
        headers = {}
        if self._settings.key_env is not None:
            key = os.environ.get(self._settings.key_env)
            if not key:
                raise UsageError(
                    f"the environment has no {self._settings.key_env}",
                    place=f"variant {self.name}",
                    cure="set it to the upstream's API key",
                )
            headers["authorization"] = f"Bearer {key}"
        slots = self.slots
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=self._settings.connect_s),
            limits=httpx.Limits(max_connections=slots + 4, max_keepalive_connections=slots),
            follow_redirects=False,
            trust_env=False,
        )

    async def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Yield the answer in pieces; closing this closes the connection."""
        path = "/chat/completions" if call.messages else "/completions"
        reader = _Reader(call)
        async with self._post(path, _payload(call, self._settings.model)) as response:
            if response.status_code != 200:
                raise _refusal(response.status_code, (await response.aread())[: 4 * _KEPT])
            async for data in _events(response):
                if data == b"[DONE]":
                    break
                chunk = reader.read(data)
                if chunk is not None:
                    yield chunk
        if reader.finish is not None:
            yield reader.last()

    async def healthy(self) -> bool:
        """Return whether the server lists its models, or answers at the configured URL."""
        import httpx

        url = self._settings.health or f"{self._base}/models"
        try:
            answer = await self._client.get(url, timeout=_HEALTH_S)
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return bool(answer.status_code < 400)

    async def prompt_tokens(self, call: Call) -> int | None:  # noqa: ARG002
        """Return None: the server has the tokenizer."""
        return None

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    @asynccontextmanager
    async def _post(self, path: str, payload: dict[str, Any]) -> AsyncIterator[Any]:
        """Open a response; whatever fails on the way is an UpstreamError."""
        import httpx

        try:
            async with self._client.stream("POST", self._base + path, json=payload) as response:
                yield response
        except httpx.TimeoutException as error:
            raise UpstreamError("timeout", f"{self.name} does not connect") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            message = f"{self.name}: {type(error).__name__} {error}"[:_KEPT]
            raise UpstreamError("transport", message) from error


class _Reader:
    """Reads the events of one stream."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.finish: Finish | None = None
        self._usage: dict[str, Any] = {}
        self._logprobs: list[float] = []

    def read(self, data: bytes) -> Chunk | None:
        """Return the piece in an event, if there is one."""
        try:
            event = json.loads(data)
            if "error" in event:
                raise UpstreamError("server", str(event["error"])[:_KEPT])
            self._usage = event.get("usage") or self._usage
            choice = (event.get("choices") or [{}])[0]
            text = (choice.get("delta") or {}).get("content") if "delta" in choice else None
            text = choice.get("text") or "" if text is None else text
            tokens = _tokens(choice.get("logprobs") or {})
            reason = choice.get("finish_reason")
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            raise UpstreamError("transport", f"an event that is none ({error})") from error
        if reason is not None:
            self.finish = "length" if reason == "length" else "stop"
        self._logprobs += [token.logprob for token in tokens]
        if not text and not tokens:
            return None
        shown = () if self._call.logprobs is None else tokens
        return Chunk(_clean(text), len(tokens) or 1, shown)

    def last(self) -> Chunk:
        """Return the piece that ends the answer."""
        known = self._logprobs
        return Chunk(
            finish=self.finish,
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            completion_tokens=_count(self._usage.get("completion_tokens")),
            mean_logprob=sum(known) / len(known) if known else None,
        )


def _payload(call: Call, model: str) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "model": model,
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "seed": call.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if call.stop:
        payload["stop"] = list(call.stop)
    wanted = 0 if call.logprobs is None and call.wants_mean else call.logprobs
    if not call.messages:
        logprobs = {} if wanted is None else {"logprobs": wanted}
        return payload | {"prompt": call.prompt + call.sofar} | logprobs
    if wanted is not None:
        payload |= {"logprobs": True, "top_logprobs": wanted}
    messages = list(call.messages)
    if call.sofar:
        # llama-server and Ollama go on from a last message of the assistant; vLLM wants the flags.
        messages.append({"role": "assistant", "content": call.sofar})
        payload |= {"continue_final_message": True, "add_generation_prompt": False}
    return payload | {"messages": messages}


async def _events(response: Any) -> AsyncGenerator[bytes]:
    """Yield the data of server-sent events."""
    rest = b""
    async for piece in response.aiter_bytes():
        rest += piece
        *lines, rest = rest.split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise UpstreamError("transport", "an event that does not end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _tokens(logprobs: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    """Return the tokens of a piece, from the chat's form or that of completions."""
    if logprobs.get("content"):
        return tuple(
            _token(one)._replace(others=tuple(_token(o) for o in one.get("top_logprobs") or ()))
            for one in logprobs["content"]
        )
    names = logprobs.get("tokens") or ()
    others = logprobs.get("top_logprobs") or [None] * len(names)
    return tuple(
        _named(_clean(name), float(value or 0))._replace(
            others=tuple(_named(_clean(text), float(v)) for text, v in (o or {}).items())
        )
        for name, value, o in zip(names, logprobs.get("token_logprobs") or (), others, strict=False)
    )


def _token(entry: dict[str, Any]) -> TokenLogprob:
    data = entry.get("bytes")
    known = bytes(data) if isinstance(data, list) else None
    return TokenLogprob(_clean(entry["token"]), float(entry["logprob"]), (), known)


def _named(name: str, logprob: float) -> TokenLogprob:
    """Return a token of a completion, which writes parts of characters as `bytes:\\xf0\\x9f`."""
    if name.startswith("bytes:"):
        escaped = name.removeprefix("bytes:").encode()
        data = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), escaped)
        made = TokenLogprob.of(data, logprob)
        if made.partial:
            return made
    return TokenLogprob(name, logprob)


def _clean(text: Any) -> str:
    """Return a text without halves of surrogate pairs, which some servers cut between events."""
    return str(text).encode("utf-8", "replace").decode()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _refusal(status: int, body: bytes) -> Exception:
    """Return what an answer other than 200 means."""
    try:
        error = json.loads(body)["error"]
        message, code = str(error["message"])[:_KEPT], str(error.get("code"))
    except (ValueError, TypeError, KeyError, AttributeError):
        message, code = body.decode("utf-8", "replace")[:200], ""
    if status == 429:
        return UpstreamError("overloaded", message)
    if status in (400, 413, 422):
        if "context" in code or "context" in message.lower():
            return PromptTooLong(message)
        return CallRefused(message)
    return UpstreamError("server", f"status {status}: {message}")
