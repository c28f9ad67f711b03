"""One fork server and the runs that it does for us; one run at a time."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from weightcut.errors import NotHere
from weightcut.records import ExecutionResult
from weightcut.records.execution import Status
from weightcut.sandbox.bubblewrap import wrap
from weightcut.sandbox.capabilities import FIRST_USER, Protections
from weightcut.sandbox.inside.program import CONFINED, DOOR_EXIT, MEMORY_EXIT, SECRET_BYTES
from weightcut.sandbox.inside.watch import Limits
from weightcut.sandbox.scratch import empty, read_plain
from weightcut.sandbox.tool import ENVIRONMENT, Tool, interpreter
from weightcut.sandbox.tool import role as settings_of

MAX_OUTPUT = 1 << 16
"""Bytes of output that are kept: the last ones."""
MAX_REPORT = 1 << 10
"""Bytes that are read of what a tool reports."""
_PATIENCE = 60.0  # seconds: a loaded machine takes its time
Kind = Literal["program", "tests", "tool"]
_ROLES: Mapping[Kind, tuple[str, ...]] = {
    "program": ("program",),
    "tests": ("solution", "test"),
    "tool": ("tool",),
}


class Worker:
    """A fork server in its own process; closed by `close`, or by the end of this process.

    It does one kind of run: programs, solutions with their tests, or programs that a `tool` runs.
    """

    def __init__(
        self, kind: Kind, protections: Protections, number: int = 0, tool: Tool | None = None
    ) -> None:
        # One CPU for a run: its processes take turns, and waking a neighbour costs the most.
        cpus = sorted(os.sched_getaffinity(0))
        self._cpu = cpus[(os.getpid() + number) % len(cpus)]
        self._folder = Path(tempfile.mkdtemp(prefix="weightcut-sandbox-"))
        self._folder.chmod(0o711)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = interpreter("zygote", str(theirs.fileno()))
        if protections.bubblewrap:
            command = wrap(
                command, self._folder, (*tool.readable, *tool.executable) if tool else ()
            )
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env=ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._socket = ours
        self._scratch = {role: self._folder / role for role in _ROLES[kind]}
        self._begin(protections, tool)

    def _begin(self, protections: Protections, tool: Tool | None) -> None:
        places: dict[str, Any] = {}
        for number, (role, folder) in enumerate(self._scratch.items()):
            folder.mkdir(0o700)
            user = None
            if protections.user:
                # Unique on this machine: process ids are below 2**22.
                user = FIRST_USER + 4 * self._process.pid + number
                os.chown(folder, user, user)
            places[role] = {"scratch": str(folder), "user": user, **settings_of(role, tool)}
        settings = {
            "roles": places,
            "files": protections.landlock,
            "calls": protections.seccomp,
            "cpu": self._cpu,
        }
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.send(json.dumps(settings).encode())
            ready = self._socket.recv(1 << 10)
            self._socket.settimeout(None)
        except OSError:
            ready = b""
        if not ready:
            words = self._last_words()
            self.close()
            raise NotHere(f"the sandbox did not start: {words}")

    def run(self, sources: Mapping[str, str | bytes], limits: Limits) -> ExecutionResult:
        """Run the sources of one role, or of `solution` and `test`, in this order."""
        secret = secrets.token_bytes(SECRET_BYTES)
        with contextlib.ExitStack() as stack:
            files = []
            for role, source in sources.items():
                data = source.encode(errors="surrogatepass") if isinstance(source, str) else source
                files.append(_memory_file(stack, b"" if role == "solution" else secret, data))
            request = {"roles": list(sources), "limits": limits, "command": None}
            end = self._do(request, files)
        self._tidy(sources)
        return end.result(secret, limits.cpu)

    def start(self, command: Sequence[str], message: bytes, limits: Limits) -> ExecutionResult:
        """Run a tool, with a mailbox as its standard input: a file in memory, to read and write.

        The mailbox holds a secret and the message. The run has passed if it holds the secret alone
        when all is over. `memory` bounds what the tool can write to.
        """
        secret = secrets.token_bytes(SECRET_BYTES)
        with contextlib.ExitStack() as stack:
            mailbox = _memory_file(stack, secret, message)
            os.lseek(mailbox, 0, os.SEEK_SET)
            end = self._do(_request(command, limits), [mailbox])
            told = os.pread(mailbox, MAX_REPORT, 0)
        self._tidy(["tool"])
        return end._replace(told=end.told + told).result(secret, limits.cpu)

    def build(
        self,
        command: Sequence[str],
        source: tuple[str, bytes],
        product: str,
        limits: Limits,
    ) -> bytes | ExecutionResult:
        """Run a compiler in a scratch folder that holds `source`; return the file `product`."""
        name, text = source
        (self._scratch["tool"] / name).write_bytes(text)
        (self._scratch["tool"] / name).chmod(0o644)
        with contextlib.ExitStack() as stack:
            nothing = _memory_file(stack)
            end = self._do(_request(command, limits), [nothing])
        try:
            built = read_plain(self._scratch["tool"] / product)
        except OSError:
            built = b""
        self._tidy(["tool"])
        [ended] = end.answer["ends"]
        if built and ended["code"] == 0:
            return built
        return end._replace(told=b'{"error": "error"}').result(b"", limits.cpu)

    def _tidy(self, roles: Iterable[str]) -> None:
        for role in roles:
            empty(self._scratch[role])

    def _do(self, request: Mapping[str, Any], files: Sequence[int]) -> _End:
        started = time.perf_counter()
        with contextlib.ExitStack() as stack:
            output, output_end = _pipe(stack)
            report, report_end = _pipe(stack)
            socket.send_fds(
                self._socket, [json.dumps(request).encode()], [output_end, report_end, *files]
            )
            for descriptor in (output_end, report_end):
                os.close(descriptor)
            answer, said, told = self._listen(output, report)
        text = said.decode("utf-8", errors="replace")
        confined = CONFINED * len(request["roles"])
        if not told.startswith(confined):
            raise NotHere(f"a program could not be confined: {text.strip()[-500:]}")
        return _End(answer, text, told.removeprefix(confined), time.perf_counter() - started)

    def close(self) -> None:
        """End the fork server, whatever it is doing, and remove its folders."""
        self._socket.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # a fork of this process holds the socket, too
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        for folder in self._scratch.values():
            if folder.exists():
                empty(folder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self) -> str:
        self._process.kill()
        _, said = self._process.communicate()
        return said.decode(errors="replace").strip()[-500:]

    def _listen(self, output: int, report: int) -> tuple[Any, bytes, bytes]:
        """Drain both pipes until the fork server has answered: its answer, output, report."""
        kept = {output: b"", report: b""}
        poll = select.poll()
        for descriptor in (output, report, self._socket.fileno()):
            poll.register(descriptor, select.POLLIN)
        answer: Any = None
        # The children are dead when the answer comes: what they said is in the pipes, all of it.
        while ready := poll.poll(None if answer is None else 0):
            for descriptor, _ in ready:
                if descriptor in kept:
                    data = os.read(descriptor, 1 << 16)
                    both = kept[descriptor] + data
                    # Of the report the beginning counts: what follows may be a program's own.
                    kept[descriptor] = (
                        both[:MAX_OUTPUT] if descriptor == report else both[-MAX_OUTPUT:]
                    )
                else:
                    data = self._socket.recv(1 << 16)
                    if not data:
                        raise NotHere(
                            f"the sandbox's fork server ended in a run: {self._last_words()}"
                        )
                    answer = json.loads(data)
                if not data or descriptor not in kept:
                    poll.unregister(descriptor)
        return answer, kept[output], kept[report]


def _request(command: Sequence[str], limits: Limits) -> dict[str, Any]:
    return {"roles": ["tool"], "limits": limits, "command": list(command)}


class _End(NamedTuple):
    """All that is known about a run that is over."""

    answer: Any
    said: str
    told: bytes
    wall: float

    def result(self, secret: bytes, cpu: float) -> ExecutionResult:
        status, note = _judge(self.answer, self.told, secret, cpu)
        return ExecutionResult(
            status=status,
            output=f"{self.said.rstrip()}\n{note}".strip() if note else self.said,
            cpu_seconds=sum(end["cpu"] for end in self.answer["ends"]),
            wall_seconds=self.wall,
        )


def _judge(answer: Any, told: bytes, secret: bytes, cpu: float) -> tuple[Status, str]:
    """Return the status and a note for whoever reads the output.

    Everything but *passed* may be claimed by the program itself: it gains nothing by it.
    """
    if secrets.compare_digest(told, secret):
        return "passed", ""
    if answer["reason"] == "cpu":
        return "timed-out", f"[stopped after {cpu:g} s of CPU time]"
    if answer["reason"] == "idle":
        return "timed-out", "[stopped: it waited for nothing]"
    codes = [end["code"] for end in answer["ends"]]
    if -signal.SIGXCPU in codes:
        return "timed-out", f"[stopped after {cpu:g} s of CPU time]"
    if b'"memory"' in told or MEMORY_EXIT in codes:
        return "out-of-memory", ""
    if b'"blocked"' in told:
        return "blocked", ""
    if DOOR_EXIT in codes or -signal.SIGSYS in codes:
        return "blocked", "[it used a door of the interpreter that the sandbox keeps shut]"
    if told:
        return "failed", ""
    died = [signal.Signals(-code).name for code in codes if code < 0 and code != -signal.SIGKILL]
    if died:
        return "failed", f"[ended by {died[0]} before its last line]"
    return "failed", "[it left before its last line]"


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    receive, send = os.pipe()
    stack.callback(_close, receive)
    return receive, send


def _memory_file(stack: contextlib.ExitStack, *parts: bytes) -> int:
    descriptor = os.memfd_create("program")
    stack.callback(_close, descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.writelines(parts)
    return descriptor


def _close(descriptor: int) -> None:
    os.close(descriptor)
