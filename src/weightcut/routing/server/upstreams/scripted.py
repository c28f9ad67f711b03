"""The fake upstream: fixed words, programmable delays and failures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator

from weightcut.routing.server.calls import Call, Chunk, TokenLogprob
from weightcut.routing.server.config import ScriptedUpstream
from weightcut.routing.server.upstreams.upstream import (
    CallRefused,
    PromptTooLong,
    UpstreamError,
    Why,
)


class Scripted:
    """Answers each prompt word by word, as its settings say; a word is a token."""

    continues = True

    def __init__(self, name: str, settings: ScriptedUpstream) -> None:
        self.name, self.slots = name, settings.slots
        self.settings = settings
        self.calls: list[Call] = []
        self.open = 0
        """Answers in the making."""
        self._script: Iterator[str] = iter(settings.script)

    def describe(self) -> str:
        """Return what it is."""
        return "scripted answers"

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    async def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Yield the words of the answer."""
        what = next(self._script, self.settings.then)
        if len(self.calls) < 1000:
            self.calls.append(call)
        self.open += 1
        try:
            async for chunk in self._words(call, what):
                yield chunk
        finally:
            self.open -= 1

    async def healthy(self) -> bool:
        """Return whether calls succeed once the script is played."""
        return self.settings.then == "ok"

    async def prompt_tokens(self, call: Call) -> int | None:
        """Return the number of words."""
        return _count(call)

    async def close(self) -> None:
        """Do nothing."""

    async def _words(self, call: Call, what: str) -> AsyncGenerator[Chunk]:
        settings = self.settings
        prompt = _count(call)
        if settings.context is not None and prompt + call.max_tokens > settings.context:
            raise PromptTooLong(f"{prompt} words of prompt; the context has {settings.context}")
        if what == "refuse":
            raise CallRefused("the scripted upstream refuses, as it was told to")
        if what in ("error", "overloaded"):
            why: Why = "server" if what == "error" else "overloaded"
            raise UpstreamError(why, "the scripted upstream fails, as it was told to")
        if what == "hang":
            await asyncio.sleep(3600)
        text = _cut(self._reply(call), call.stop)
        words = re.findall(r"\S+\s*|\s+", text.removeprefix(call.sofar))
        for index, word in enumerate(words[: call.max_tokens]):
            pause = settings.token_s if index else settings.first_token_s
            if pause:
                await asyncio.sleep(pause)
            if what == "break" and index:
                raise UpstreamError("transport", "the scripted upstream breaks off, as told")
            tokens = () if call.logprobs is None else (TokenLogprob(word, settings.logprob),)
            yield Chunk(word, 1, tokens)
        count = min(len(words), call.max_tokens)
        yield Chunk(
            finish="length" if len(words) > call.max_tokens else "stop",
            prompt_tokens=prompt,
            completion_tokens=count,
            mean_logprob=settings.logprob,
        )

    def _reply(self, call: Call) -> str:
        for key, reply in self.settings.words.items():
            if key in call.text:
                return reply
        return self.settings.reply


def _count(call: Call) -> int:
    return len(call.prompt.split()) + sum(len(m["content"].split()) for m in call.messages)


def _cut(text: str, stops: tuple[str, ...]) -> str:
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text
