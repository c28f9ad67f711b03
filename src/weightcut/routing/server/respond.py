"""From calls to an HTTP response: whole or streamed, one choice or several."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from weightcut.routing.server.accounts import Accounts
from weightcut.routing.server.calls import Call, Chunk
from weightcut.routing.server.ledger import Choice, Ledger
from weightcut.routing.server.problems import ClientGone, Problem
from weightcut.routing.server.service import Answer, Plan, Service
from weightcut.routing.server.shadow import Shadow
from weightcut.routing.server.wire import DONE, Form, encode, event

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

T = TypeVar("T")
_TRACE = ("traceparent", "tracestate")


class Piece(NamedTuple):
    """A chunk of one choice; offsets: the places of its tokens in the choice's text."""

    choice: Choice
    chunk: Chunk
    offsets: list[int]

    @classmethod
    def of(cls, choice: Choice, chunk: Chunk) -> Piece:
        """Return the piece of a chunk that the answer has just taken."""
        offsets = choice.answer.offsets
        return cls(choice, chunk, offsets[len(offsets) - len(chunk.tokens) :])


class Responder:
    """Answers requests that have been checked."""

    def __init__(self, service: Service, accounts: Accounts, shadow: Shadow) -> None:
        self._service, self._accounts, self._shadow = service, accounts, shadow

    async def respond(
        self,
        request: Request,
        form: Form,
        model: str,
        calls: Sequence[Call],
        *,
        stream: bool,
        include_usage: bool,
    ) -> Response:
        """Return the response; Problem where there is none.

        calls: one for each choice. Those of one prompt share their id, and their variant.
        """
        service = self._service
        limit = service.config.limits.choices
        if len(calls) > limit:
            raise Problem(400, f"at most {limit} answers to one request", param="n")
        if service.draining:
            raise Problem(503, "the server is shutting down", code="draining", retry_after=5)
        # Decisions and token counts take time as well: whoever waits for them has room already.
        service.admission.enter(len(calls))
        try:
            plans = await self._plans(model, calls)
        except BaseException:
            service.admission.leave(len(calls))
            raise
        state = request.scope["state"]
        ledger = Ledger(
            id=form.prefix + secrets.token_hex(12),
            request_id=state["request_id"],
            endpoint=request.url.path,
            requested=model,
            choices=[Choice(i, plans[call.id], Answer(call)) for i, call in enumerate(calls)],
            began=state["began"],
            cost_unit=service.cost_unit,
            key=state["key"],
            trace={name: request.headers[name] for name in _TRACE if name in request.headers},
        )
        state["ledger"] = ledger
        if stream:
            return await self._streamed(request, form, ledger, include_usage)
        return await self._whole(request, form, ledger)

    async def _plans(self, model: str, calls: Sequence[Call]) -> dict[str, Plan]:
        """Return who is to answer each prompt, by the id of its calls."""
        service, plans = self._service, dict[str, Plan]()
        for call in calls:
            if call.id not in plans:
                plans[call.id] = await service.plan(model, call)
                await service.check_length(call, plans[call.id].decided)
        return plans

    async def _whole(self, request: Request, form: Form, ledger: Ledger) -> Response:
        from starlette.responses import Response

        try:
            await while_connected(request, self._gather(ledger))
        except BaseException as error:
            self._end(ledger, error)
            raise
        self._end(ledger)
        body = encode(form.whole(ledger))
        return Response(body, media_type="application/json", headers=ledger.headers())

    async def _gather(self, ledger: Ledger) -> None:
        if len(ledger.choices) == 1:
            await self._exhaust(ledger.choices[0])
            return
        tasks = [asyncio.create_task(self._exhaust(choice)) for choice in ledger.choices]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _stop(tasks)

    async def _exhaust(self, choice: Choice) -> None:
        async for _ in self._service.stream(choice.plan, choice.answer, hold=True):
            pass

    async def _streamed(
        self, request: Request, form: Form, ledger: Ledger, include_usage: bool
    ) -> Response:
        """Wait for the first piece, so that a failure before it still has a status of its own."""
        pieces = self._pieces(ledger)
        events = self._events(form, ledger, pieces, include_usage)
        try:
            first = await while_connected(request, _first(events))
        except BaseException as error:
            await events.aclose()
            self._end(ledger, error)
            raise
        self._accounts.first_token(ledger)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"} | ledger.headers()
        body = self._counted(first, events, ledger)
        made: Response = _event_stream()(body, lambda: self._end(ledger, ClientGone()), headers)
        return made

    async def _counted(
        self, first: bytes, events: AsyncGenerator[bytes], ledger: Ledger
    ) -> AsyncGenerator[bytes]:
        """Yield the events; a failure among them is the last one, in OpenAI's error form."""
        try:
            yield first
            async for one in events:
                yield one
        except Problem as problem:
            self._end(ledger, problem)
            yield event(problem.body())
        except BaseException as error:
            self._end(ledger, error)
            raise
        else:
            self._end(ledger)
        finally:
            await events.aclose()

    async def _events(
        self,
        form: Form,
        ledger: Ledger,
        pieces: AsyncGenerator[Piece],
        include_usage: bool,
    ) -> AsyncGenerator[bytes]:
        begun: set[int] = set()
        left = len(ledger.choices)
        try:
            async for piece in pieces:
                index, chunk = piece.choice.index, piece.chunk
                if not (chunk.text or chunk.tokens or chunk.finish):
                    continue
                body = form.piece(ledger, *piece, index not in begun)
                begun.add(index)
                if chunk.finish:
                    left -= 1
                    if not left:
                        body["weightcut"] = ledger.told()
                yield event(body)
            if include_usage:
                yield event(form.closing(ledger))
            yield DONE
        finally:
            await pieces.aclose()

    async def _pieces(self, ledger: Ledger) -> AsyncGenerator[Piece]:
        """Yield the pieces of all choices as they come."""
        service = self._service
        if len(ledger.choices) == 1:
            choice = ledger.choices[0]
            source = service.stream(choice.plan, choice.answer, hold=False)
            try:
                async for chunk in source:
                    yield Piece.of(choice, chunk)
            finally:
                await source.aclose()
            return
        queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(64)

        async def pump(choice: Choice) -> None:
            try:
                async for chunk in service.stream(choice.plan, choice.answer, hold=False):
                    await queue.put(Piece.of(choice, chunk))
                await queue.put(None)
            except Exception as error:  # noqa: BLE001 - raised again by whoever takes it
                await queue.put(error)

        tasks = [asyncio.create_task(pump(choice)) for choice in ledger.choices]
        try:
            for _ in tasks:
                while (item := await queue.get()) is not None:
                    if isinstance(item, Exception):
                        raise item
                    yield item
        finally:
            await _stop(tasks)

    def _end(self, ledger: Ledger, error: BaseException | None = None) -> None:
        """Give the room back and close the books, once for every request."""
        if ledger.closed:
            return
        ledger.closed = True
        self._service.admission.leave(len(ledger.choices), time.perf_counter() - ledger.began)
        problem = error if isinstance(error, Problem) else None
        gone = isinstance(error, (ClientGone, asyncio.CancelledError, GeneratorExit))
        if error is not None and not problem and not gone:
            problem = Problem(500, "the server failed", code="internal_error")
        self._accounts.close(ledger, problem, gone=gone)
        if error is None:
            self._shadow.consider(ledger)


@cache
def _event_stream() -> Any:
    """Return the class of responses whose source is closed whatever happens to the client."""
    from starlette.responses import StreamingResponse

    class EventStream(StreamingResponse):
        def __init__(
            self, body: AsyncGenerator[bytes], closed: Callable[[], None], headers: dict[str, str]
        ) -> None:
            super().__init__(body, media_type="text/event-stream", headers=headers)
            self._body, self._closed = body, closed

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._body.aclose()
                self._closed()

    return EventStream


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; if the client leaves before, stop it and raise ClientGone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        await _stop((gone, task))


async def _stop(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel what still runs, and wait until it has ended."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.gather(*running, return_exceptions=True)


async def _first(events: AsyncGenerator[bytes]) -> bytes:
    return await anext(events)
