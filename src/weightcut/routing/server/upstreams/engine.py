"""A variant answered by an engine that the server itself runs."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import OrderedDict
from collections.abc import AsyncGenerator
from functools import partial
from typing import NamedTuple

from weightcut.engines.engine import Progress
from weightcut.errors import UsageError, WeightcutError
from weightcut.models.tokenizer import Tokenizer, load_tokenizer
from weightcut.records import Artifact, Named, Request
from weightcut.routing.server import logs
from weightcut.routing.server.calls import Call, Chunk, TokenLogprob
from weightcut.routing.server.upstreams.engine_child import Opening
from weightcut.routing.server.upstreams.engine_process import BUSY, EngineProcess, Refused
from weightcut.routing.server.upstreams.text_stream import TextStream
from weightcut.routing.server.upstreams.token_texts import TokenTexts
from weightcut.routing.server.upstreams.upstream import CallRefused, PromptTooLong, UpstreamError

_REMEMBERED = 128
_REST_S = 5.0
"""Seconds between tries to open an engine that does not start."""
_ALIVE_S = 5.0
"""Seconds of waiting after which it is told whether the engine does anything at all."""
_LEAST_S = 10.0
"""Seconds of silence before which no engine is held to hang, however short the time-outs are."""
_LONG = 16_384
"""Bytes beyond which a prompt is tokenized in a thread."""


class Rendered(NamedTuple):
    """A prompt with its chat template applied, and its ids."""

    prompt: str
    ids: list[int]


class LocalEngine:
    """Requests share the engine's batch where the engine can; else they are answered in turn.

    quiet_s: seconds, ten at least, after which an engine that has been asked, says nothing and
    computes nothing is ended and opened anew.
    """

    continues = True

    def __init__(
        self,
        name: str,
        artifact: Artifact,
        engine: Named,
        slots: int,
        cache_tokens: int,
        quiet_s: float = 20.0,
    ) -> None:
        self.name, self._artifact, self._named = name, artifact, engine
        # Beyond the batch some may wait inside, so that a place that gets free is taken at once.
        self.slots = 2 * slots
        self._batch, self._cache_tokens = slots, cache_tokens
        self._quiet_s = quiet_s
        self._context = _context(artifact)
        self._numbers = itertools.count()
        self._encoded: OrderedDict[str, Rendered] = OrderedDict()
        self._tokenizer: Tokenizer | None = None
        self._process: EngineProcess | None = None
        self._starting = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def describe(self) -> str:
        """Return what it is."""
        steps = " + ".join(step.label() for step in self._artifact.recipe) or "as it is"
        return f"{self._named.kind}, {steps}"

    async def start(self) -> None:
        """Load the tokenizer, and the model in a process of its own."""
        self._tokenizer = await asyncio.to_thread(load_tokenizer, self._artifact.path)
        opening = Opening(
            artifact=self._artifact,
            engine=self._named,
            slots=self._batch,
            tokens=self._cache_tokens,
        )
        self._process = await EngineProcess.open(opening, self.name)

    async def stream(self, call: Call) -> AsyncGenerator[Chunk]:
        """Yield the answer in pieces; its slot is freed when this is closed."""
        process = self._process
        if process is None or process.broken is not None:
            self._revive()
            raise UpstreamError("server", f"the engine of {self.name} does not run")
        if call.logprobs is not None and not process.ready["batches"]:
            raise CallRefused(f"the engine of {self.name} gives no log-probabilities")
        request = await self._request(call)
        inbox: asyncio.Queue[Progress | Exception] = asyncio.Queue()
        process.submit(request, inbox.put_nowait)
        try:
            async for chunk in self._chunks(call, request, inbox, process):
                yield chunk
        finally:
            process.cancel(request.id)

    async def healthy(self) -> bool:
        """Return whether the engine runs; one that broke or hangs is opened anew."""
        async with self._starting:
            process = self._process
            if process is not None and process.broken is None:
                if await process.alive(_ALIVE_S):
                    return True
                process.kill("it neither answers nor computes")
            try:
                await self._end()
                await self.start()
            except (WeightcutError, OSError, ValueError) as error:
                logs.say("engine does not start", level=40, upstream=self.name, error=str(error))
                return False
            return True

    async def prompt_tokens(self, call: Call) -> int | None:
        """Return how many tokens the prompt has."""
        return len((await self._encode(call)).ids)

    async def close(self) -> None:
        """End the process; answers in the making are lost."""
        tasks = [task for task in (self._reviving, self._looking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._end()

    def _revive(self) -> None:
        """Open the engine anew, in the background: with few requests no breaker would open."""
        if self._reviving is None or self._reviving.done():
            self._reviving = asyncio.create_task(self._open_later())

    async def _open_later(self) -> None:
        if not await self.healthy():
            await asyncio.sleep(_REST_S)

    def _look_s(self) -> float:
        """Return the seconds of waiting between two looks at what the engine does."""
        return min(_ALIVE_S, self._quiet_s / 2)

    def _doubt(self, process: EngineProcess) -> None:
        """Look in the background whether the engine hangs: the request need not wait for that."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(process))

    async def _look(self, process: EngineProcess) -> None:
        quiet_s = max(_LEAST_S, self._quiet_s)
        if not await process.alive(quiet_s - self._look_s()) and process.broken is None:
            process.kill(f"it has done nothing for {quiet_s:g} s")
            self._revive()

    async def _end(self) -> None:
        if self._process is not None:
            await self._process.close()
            self._process = None

    async def _request(self, call: Call) -> Request:
        prompt, ids = await self._encode(call)
        room = min(call.max_tokens, self._context - len(ids))
        if self._process is not None and self._process.ready["batches"]:
            room = min(room, self._cache_tokens - len(ids) - 64)
        if room < 1:
            raise PromptTooLong(
                f"the prompt has {len(ids)} tokens; {self.name} has room for {self._context}"
            )
        assert self._tokenizer is not None
        return Request(
            id=f"{call.id}-{next(self._numbers)}",
            prompt=prompt,
            prompt_ids=tuple(ids),
            max_new_tokens=room,
            stop=call.stop,
            stop_ids=self._tokenizer.stop_ids,
            temperature=call.temperature,
            top_p=call.top_p,
            seed=call.seed & 0x7FFF_FFFF,
        )

    async def _chunks(
        self,
        call: Call,
        request: Request,
        inbox: asyncio.Queue[Progress | Exception],
        process: EngineProcess,
    ) -> AsyncGenerator[Chunk]:
        assert self._tokenizer is not None
        decode = partial(self._tokenizer.decode_after, request.prompt_ids)
        text = TextStream(decode, call.stop)
        shown = TokenTexts(self._tokenizer.token_bytes, decode)
        batches = process.ready["batches"]
        made, look_s = 0, self._look_s()
        while True:
            steps, worked = process.steps, None if batches else process.worked()
            try:
                async with asyncio.timeout(look_s):
                    progress = await inbox.get()
            except TimeoutError:
                # An engine that answers one by one says nothing before an answer is whole; what
                # tells it from one that hangs is that it computes.
                computes = worked is not None and process.worked() > worked + BUSY * look_s
                if process.steps > steps or computes:
                    # Others are being answered: this one waits for its turn, nobody is stuck.
                    yield Chunk()
                else:
                    self._doubt(process)
                continue
            if isinstance(progress, Refused):
                raise PromptTooLong(str(progress))
            if isinstance(progress, Exception):
                raise UpstreamError("transport", f"the engine failed: {progress}")
            if progress.reason == "aborted":
                raise UpstreamError("server", "the engine gave up the answer")
            made += len(progress.tokens)
            ended = progress.reason is not None
            tokens = progress.tokens
            if ended and tokens and tokens[-1][0] in request.stop_ids:
                tokens = tokens[:-1]
            piece = text.add([token for token, _ in tokens]) + (text.finish() if ended else "")
            logprobs: tuple[TokenLogprob, ...] = ()
            if call.logprobs is not None:
                shown.add(tokens)
                logprobs = shown.given(piece, last=ended, stopped=text.stopped)
            if not ended:
                yield Chunk(piece, len(progress.tokens), logprobs)
                continue
            yield Chunk(
                piece,
                len(progress.tokens),
                logprobs,
                finish="length" if progress.reason == "length" else "stop",
                prompt_tokens=len(request.prompt_ids),
                completion_tokens=made,
                mean_logprob=progress.mean_logprob,
            )
            return

    async def _encode(self, call: Call) -> Rendered:
        """Return the prompt as the model reads it; one that was just counted is at hand."""
        key = f"{call.id}:{len(call.sofar)}"
        found = self._encoded.get(key)
        if found is None:
            if call.size > _LONG:
                found = await asyncio.to_thread(self._tokenize, call)
            else:
                found = self._tokenize(call)
            if len(found.ids) <= self._context:
                # A longer one is refused, and many of them would take much memory.
                self._encoded[key] = found
            if len(self._encoded) > _REMEMBERED:
                self._encoded.popitem(last=False)
        return found

    def _tokenize(self, call: Call) -> Rendered:
        tokenizer = self._tokenizer
        assert tokenizer is not None
        if not call.messages:
            # The whole prompt is the caller's own, its special tokens included.
            prompt = call.prompt + call.sofar
            return Rendered(prompt, tokenizer.encode(prompt, special=True))
        if not tokenizer.has_chat_template:
            said = "\n".join(message["content"] for message in call.messages)
            prompt = f"{said}\n{call.sofar}"
            return Rendered(prompt, tokenizer.plain_ids(prompt))
        try:
            return Rendered(*tokenizer.chat_ids(call.messages, prefill=call.sofar))
        except UsageError as error:
            raise CallRefused(str(error.cause)) from error


def _context(artifact: Artifact) -> int:
    """Return how many tokens the model was made for; many where its config does not say."""
    try:
        config = json.loads((artifact.path / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        return int(config.get("max_position_embeddings") or config.get("n_positions") or 1 << 20)
    except (OSError, ValueError, AttributeError, TypeError):
        return 1 << 20
