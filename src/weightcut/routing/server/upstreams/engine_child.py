"""An engine in a process of its own: `python -m weightcut.routing.server.upstreams.engine_child`.

Why a process: OpenVINO's step keeps Python's lock, so a thread would stop the server for its
duration; and an engine that crashes takes nothing with it. JSON lines come on stdin: first what to
open, then {"submit": request}, {"cancel": id} and {"ping": true}; its end ends the process. JSON
lines go to stdout: {"ready": ...} or {"error": ...}, then {"progress": [...]}, {"refused": id, ...}
and {"pong": true}.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections import deque
from typing import Any, BinaryIO, cast

from weightcut import registry
from weightcut.engines.engine import Engine, Live, LiveSession, Progress, Session
from weightcut.errors import WeightcutError
from weightcut.records import Artifact, Named, Record, Request


class Opening(Record):
    """What the process is to open. slots, tokens: of the live batch."""

    artifact: Artifact
    engine: Named
    slots: int
    tokens: int


class OneByOne:
    """A live batch of one, for engines that know no other: each step is a whole answer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[Request] = deque()

    def submit(self, request: Request) -> None:
        """Take a request."""
        self._waiting.append(request)

    def cancel(self, request_id: str) -> None:
        """Forget a request that has not begun."""
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


class Loop:
    """Obeys the lines that come in, and steps while there is something to do."""

    def __init__(self, live: Live, lines: queue.SimpleQueue[bytes], out: BinaryIO) -> None:
        self._live, self._lines, self._out = live, lines, out

    def run(self) -> None:
        """Go on until the input ends."""
        while self._take():
            if self._live.busy():
                found = [_plain(progress) for progress in self._live.step()]
                if found:
                    self.say({"progress": found})

    def say(self, what: dict[str, Any]) -> None:
        """Write a line."""
        self._out.write(json.dumps(what, separators=(",", ":")).encode() + b"\n")
        self._out.flush()

    def _take(self) -> bool:
        """Obey what has come, waiting for it if there is nothing else to do."""
        while True:
            try:
                line = self._lines.get(block=not self._live.busy())
            except queue.Empty:
                return True
            if not line:
                return False
            command = json.loads(line)
            if "cancel" in command:
                self._live.cancel(command["cancel"])
                continue
            if "ping" in command:
                self.say({"pong": True})
                continue
            request = Request.model_validate(command["submit"])
            try:
                self._live.submit(request)
            except WeightcutError as error:
                self.say({"refused": request.id, "message": str(error)})


def _plain(progress: Progress) -> list[Any]:
    return [progress.request_id, progress.tokens, progress.reason, progress.mean_logprob]


def _read(lines: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    lines.put(b"")


def main() -> int:
    """Open what the first line says, and serve until the input ends."""
    out = os.fdopen(os.dup(1), "wb")
    # What libraries print must not come between the lines.
    os.dup2(2, 1)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    opening = Opening.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    model = registry.load("engine", opening.engine.kind)
    options = {"kind": opening.engine.kind, **opening.engine.settings}
    engine = cast("Engine", model.model_validate(options))
    try:
        with engine.open(opening.artifact) as session:
            live = None
            if isinstance(session, LiveSession):
                live = session.live(opening.slots, opening.tokens)
            loop = Loop(live or OneByOne(session), lines, out)
            loop.say({"ready": {"batches": live is not None, **session.describe()}})
            loop.run()
    except WeightcutError as error:
        out.write(json.dumps({"error": str(error), "cure": error.cure}).encode() + b"\n")
        out.flush()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
