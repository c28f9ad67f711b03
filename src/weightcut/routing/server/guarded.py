"""uvicorn's HTTP protocol with an end to its patience with slow clients."""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD_BYTES = 65_536


def guarded(head_s: float, write_s: float) -> type[asyncio.Protocol]:
    """Return a protocol that hangs up on clients that are too slow, or send too large a head.

    head_s: for the head of a request, which has at most 64 KiB. write_s: for what waits to be sent.
    uvicorn itself limits none of them (its keep-alive time-out ends with the first byte).
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Guarded(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None
        _bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._timer is not None:
                self._bytes += len(data)
            super().data_received(data)
            if self._timer is not None and self._bytes > _HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
            elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
                # Bytes that begin no request, which have ended uvicorn's keep-alive time-out.
                self._arm()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._timer is None:
                self._arm()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(write_s, self.transport.abort)

        def resume_writing(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None
            super().resume_writing()

        def _arm(self) -> None:
            self._bytes = 0
            self._timer = self.loop.call_later(head_s, self._hang_up)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _hang_up(self) -> None:
            self._timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return Guarded
