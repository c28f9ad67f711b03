"""A thread that owns a live batch, and hands its progress to the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable

from weightcut.engines.engine import Live, Progress, Session
from weightcut.errors import WeightcutError
from weightcut.records import Request
from weightcut.routing.server import logs

Deliver = Callable[[Progress | Exception], None]
"""Called in the event loop with each progress, or with why there will be none."""


class LiveWorker:
    """Submits, steps and cancels in one thread; everything else is called from the event loop."""

    def __init__(self, live: Live, name: str) -> None:
        self._live = live
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[Request | str | None] = queue.SimpleQueue()
        self._deliver: dict[str, Deliver] = {}
        self.broken: Exception | None = None
        """Why the thread has ended, if it has."""
        self._thread = threading.Thread(target=self._run, name=f"weightcut-{name}", daemon=True)
        self._thread.start()

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Queue a request."""
        self._deliver[request.id] = deliver
        self._inbox.put(request)

    def cancel(self, request_id: str) -> None:
        """Give up a request; nothing more is delivered of it."""
        if self._deliver.pop(request_id, None) is not None:
            self._inbox.put(request_id)

    async def close(self) -> None:
        """End the thread after its present step."""
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, 30)

    def _run(self) -> None:
        try:
            while self._take():
                if self._live.busy():
                    self._tell(list(self._live.step()))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises ends this batch only
            logs.logger().exception("engine failed")
            self._call(self._break, error)

    def _take(self) -> bool:
        """Obey what is in the inbox, waiting for something if there is nothing else to do."""
        while True:
            try:
                item = self._inbox.get(block=not self._live.busy())
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, str):
                self._live.cancel(item)
                continue
            try:
                self._live.submit(item)
            except WeightcutError as error:
                self._call(self._hand, item.id, error)

    def _tell(self, found: list[Progress]) -> None:
        if found:
            self._call(self._spread, found)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The event loop has ended: nobody is left to be told.
            self._inbox.put(None)

    def _spread(self, found: list[Progress]) -> None:
        for progress in found:
            self._hand(progress.request_id, progress, ended=progress.reason is not None)

    def _hand(self, id_: str, what: Progress | Exception, *, ended: bool = True) -> None:
        deliver = self._deliver.pop(id_, None) if ended else self._deliver.get(id_)
        if deliver is not None:
            deliver(what)

    def _break(self, error: Exception) -> None:
        self.broken = error
        for id_ in list(self._deliver):
            self._hand(id_, error)


class OneByOne:
    """A live batch of one, for engines that know no other: each step is a whole answer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[Request] = deque()

    def submit(self, request: Request) -> None:
        """Take a request."""
        self._waiting.append(request)

    def cancel(self, request_id: str) -> None:
        """Forget a request that has not begun; one that has is made in vain."""
        self._waiting = deque(one for one in self._waiting if one.id != request_id)

    def busy(self) -> bool:
        """Return whether a request waits."""
        return bool(self._waiting)

    def step(self) -> list[Progress]:
        """Answer the next request."""
        request = self._waiting.popleft()
        (made,) = self._session.generate([request])
        tokens = tuple((token, None) for token in made.token_ids)
        return [Progress(request.id, tokens, made.finish_reason, made.mean_logprob)]
