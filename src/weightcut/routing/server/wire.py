"""The three forms of an answer on the wire: chat, completion, and the simple one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from weightcut.routing.server.calls import Chunk, TokenLogprob
from weightcut.routing.server.ledger import Choice, Ledger

Body = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How a request's answer is written.

    whole: all of it. piece: an event of its stream, from the chunk, the places of its tokens in the
    text, and whether it is the choice's first. closing: the event with usage.
    """

    prefix: str
    whole: Callable[[Ledger], Body]
    piece: Callable[[Ledger, Choice, Chunk, Sequence[int], bool], Body]
    closing: Callable[[Ledger], Body]


def encode(body: Body) -> bytes:
    """Return JSON."""
    return to_json(body, inf_nan_mode="null")


def event(body: Body) -> bytes:
    """Return a server-sent event."""
    return b"data: " + encode(body) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _head(ledger: Ledger, kind: str, choices: list[Body]) -> Body:
    return {
        "id": ledger.id,
        "object": kind,
        "created": ledger.created,
        "model": ledger.variant,
        "choices": choices,
    }


def _chat_whole(ledger: Ledger) -> Body:
    choices = [
        {
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.answer.text, "refusal": None},
            "logprobs": _chat_logprobs(choice, choice.answer.tokens),
            "finish_reason": choice.answer.finish,
        }
        for choice in ledger.choices
    ]
    told = {"usage": ledger.usage(), "weightcut": ledger.told()}
    return _head(ledger, "chat.completion", choices) | told


def _chat_piece(
    ledger: Ledger, choice: Choice, chunk: Chunk, _offsets: Sequence[int], first: bool
) -> Body:
    delta: Body = {"role": "assistant", "content": chunk.text} if first else {}
    if chunk.text and not first:
        delta = {"content": chunk.text}
    entry = {
        "index": choice.index,
        "delta": delta,
        "logprobs": _chat_logprobs(choice, chunk.tokens) if chunk.tokens else None,
        "finish_reason": chunk.finish,
    }
    return _head(ledger, "chat.completion.chunk", [entry])


def _chat_logprobs(choice: Choice, tokens: Sequence[TokenLogprob]) -> Body | None:
    if choice.answer.call.logprobs is None:
        return None
    content = [
        _entry(token) | {"top_logprobs": [_entry(other) for other in token.others]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(token: TokenLogprob) -> Body:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.raw)}


def _chat_closing(ledger: Ledger) -> Body:
    return _head(ledger, "chat.completion.chunk", []) | {"usage": ledger.usage()}


def _text_whole(ledger: Ledger) -> Body:
    choices = []
    for choice in ledger.choices:
        made = choice.answer
        choices.append(_text_choice(choice, made.text, made.tokens, made.finish, made.offsets))
    told = {"usage": ledger.usage(), "weightcut": ledger.told()}
    return _head(ledger, "text_completion", choices) | told


def _text_piece(
    ledger: Ledger, choice: Choice, chunk: Chunk, offsets: Sequence[int], _first: bool
) -> Body:
    entry = _text_choice(choice, chunk.text, chunk.tokens, chunk.finish, offsets)
    return _head(ledger, "text_completion", [entry])


def _text_choice(
    choice: Choice,
    text: str,
    tokens: Sequence[TokenLogprob],
    finish: str | None,
    offsets: Sequence[int],
) -> Body:
    logprobs = None
    if choice.answer.call.logprobs is not None:
        logprobs = {
            "tokens": [_named(token) for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [{_named(o): o.logprob for o in token.others} for token in tokens],
            "text_offset": list(offsets),
        }
    return {"index": choice.index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _named(token: TokenLogprob) -> str:
    """Return a token as completions write it: they have no field for its bytes."""
    return f"bytes:{token.text}" if token.partial else token.text


def _text_closing(ledger: Ledger) -> Body:
    return _head(ledger, "text_completion", []) | {"usage": ledger.usage()}


def _simple_whole(ledger: Ledger) -> Body:
    first = ledger.choices[0]
    body = {
        "id": ledger.id,
        "text": first.answer.text,
        "finish_reason": first.answer.finish,
        "usage": ledger.usage(),
        **ledger.told(),
    }
    if len(ledger.choices) > 1:
        body["texts"] = [choice.answer.text for choice in ledger.choices]
    return body


def _simple_piece(
    ledger: Ledger, choice: Choice, chunk: Chunk, _offsets: Sequence[int], _first: bool
) -> Body:
    return {
        "id": ledger.id,
        "index": choice.index,
        "text": chunk.text,
        "finish_reason": chunk.finish,
    }


def _simple_closing(ledger: Ledger) -> Body:
    return {"id": ledger.id, "usage": ledger.usage()}


CHAT = Form("chatcmpl-", _chat_whole, _chat_piece, _chat_closing)
TEXT = Form("cmpl-", _text_whole, _text_piece, _text_closing)
SIMPLE = Form("gen-", _simple_whole, _simple_piece, _simple_closing)
