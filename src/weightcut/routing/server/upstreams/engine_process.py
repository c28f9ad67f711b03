"""The server's side of an engine's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from typing import Any

import psutil

from weightcut.engines.engine import Progress
from weightcut.errors import BrokenInput
from weightcut.records import Request
from weightcut.routing.server import logs
from weightcut.routing.server.upstreams.engine_child import Opening
from weightcut.settings import isolated_environment

Deliver = Callable[[Progress | Exception], None]
"""Called with each progress of an answer, or with why there will be none."""
_LONGEST_LINE = 64 << 20
_END_S = 5.0
_OPEN_S = 120.0
"""Seconds without any computing after which the loading of a model is given up."""
BUSY = 0.01
"""Share of a core that an engine which computes has at least."""


class Refused(Exception):
    """The engine will not take the request."""


class EngineProcess:
    """Submits requests to the process, and delivers what comes of them."""

    def __init__(self, process: Process, name: str) -> None:
        self._process, self._name = process, name
        self._deliver: dict[str, Deliver] = {}
        self.ready: dict[str, Any] = {}
        """What the engine says of itself; `batches`: whether answers share a batch."""
        self.broken: Exception | None = None
        """Why the process has ended, if it has."""
        self.steps = 0
        """Steps that the engine has made; while they go on, it is busy and not stuck."""
        self._heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @classmethod
    async def open(cls, opening: Opening, name: str) -> EngineProcess:
        """Start the process and wait until the model is loaded; BrokenInput where it is not."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weightcut.routing.server.upstreams.engine_child"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=isolated_environment(),
            limit=_LONGEST_LINE,
            # A Ctrl-C at the terminal is for the server, which drains and then ends this.
            start_new_session=True,
        )
        self = cls(process, name)
        self._tasks.append(asyncio.create_task(self._listen()))
        self._write(opening.model_dump_json().encode())
        try:
            said = await self._opened()
            if said is None or "ready" not in said:
                raise BrokenInput(
                    f"the engine does not start: {(said or {}).get('error', 'it ended')}",
                    place=f"variant {name}",
                    cure=(said or {}).get("cure", "the log says more"),
                )
        except BaseException:
            await self.close()
            raise
        self.ready = said["ready"]
        self._tasks.append(asyncio.create_task(self._read()))
        return self

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def worked(self) -> float:
        """Return the CPU seconds that the process and its children have used, 0 once it ended."""
        try:
            process = psutil.Process(self.pid)
            times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        except psutil.Error:
            return 0.0
        return sum(one.user + one.system for one in times)

    async def alive(self, patience_s: float) -> bool:
        """Return whether it says something within so many seconds, or at least computes."""
        worked = self.worked()
        self._heard.clear()
        self._write(b'{"ping":true}')
        try:
            async with asyncio.timeout(patience_s):
                await self._heard.wait()
        except TimeoutError:
            return self.worked() > worked + BUSY * patience_s
        return self.broken is None

    def kill(self, why: str) -> None:
        """End the process by force; its answers are lost."""
        self._break(why)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Hand over a request."""
        if self.broken is not None:
            deliver(self.broken)
            return
        self._deliver[request.id] = deliver
        self._write(b'{"submit":' + request.model_dump_json().encode() + b"}")

    def cancel(self, request_id: str) -> None:
        """Give up a request; nothing more is delivered of it."""
        if self._deliver.pop(request_id, None) is not None:
            self._write(json.dumps({"cancel": request_id}).encode())

    async def close(self) -> None:
        """End the process, by force if it takes too long."""
        self._closing = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(line + b"\n")

    async def _line(self) -> dict[str, Any] | None:
        """Return the next line, None at the end."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        found: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return found

    async def _opened(self) -> dict[str, Any] | None:
        """Return the first line, however long the model takes; an error where it hangs instead."""
        while True:
            worked = self.worked()
            try:
                async with asyncio.timeout(_OPEN_S):
                    return await self._line()
            except TimeoutError:
                if self.worked() <= worked + BUSY * _OPEN_S:
                    return {"error": f"it has done nothing for {_OPEN_S:g} s"}

    async def _read(self) -> None:
        try:
            while (said := await self._line()) is not None:
                self._heard.set()
                self.steps += "pong" not in said
                for id_, tokens, reason, mean in said.get("progress", ()):
                    pairs = tuple((token, logprob) for token, logprob in tokens)
                    progress = Progress(id_, pairs, reason, mean)
                    self._hand(id_, progress, ended=reason is not None)
                if "refused" in said:
                    self._hand(said["refused"], Refused(said["message"]), ended=True)
                if "error" in said:
                    self._break(said["error"])
            self._break("its process has ended")
        except (ValueError, KeyError, TypeError) as error:
            self._break(f"it wrote what is no progress ({error})")

    def _hand(self, id_: str, what: Progress | Exception, *, ended: bool) -> None:
        deliver = self._deliver.pop(id_, None) if ended else self._deliver.get(id_)
        if deliver is not None:
            deliver(what)

    def _break(self, why: str) -> None:
        if self.broken is None:
            self.broken = RuntimeError(why)
            if not self._closing:
                logs.say("engine ended", level=40, upstream=self._name, why=why)
        self._heard.set()
        for id_ in list(self._deliver):
            self._hand(id_, self.broken, ended=True)

    async def _listen(self) -> None:
        """Put what the process prints into the log."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            logs.say("engine says", level=30, upstream=self._name, line=text[:500])
