"""The fork server: one warm interpreter that forks a confined child for every program.

It speaks with `weightcut.sandbox.worker` over one socket. It never reads a program, a test or a
secret: those arrive as descriptors, which only the child that they are meant for reads. One run at
a time; the children of a run are dead and reaped before it is answered.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import math
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weightcut.sandbox.inside import confine, kernel, peer, program

_PRELOADED = """
    abc bisect calendar cmath collections.abc copy datetime decimal fractions functools hashlib
    heapq inspect itertools json math operator random re statistics string textwrap traceback
    typing types dataclasses enum contextlib linecache struct
""".split()  # noqa: SIM905
_MAX_DESCRIPTORS = 8


class Limits(NamedTuple):
    """CPU seconds, bytes, and seconds in which a run may neither compute nor wait for a CPU."""

    cpu: float
    memory: int
    idle: float


class Child(NamedTuple):
    """A running child, and what it was."""

    role: str
    pid: int
    pidfd: int


class End(NamedTuple):
    """How a child ended: exit code (negative: signal) and CPU seconds."""

    role: str
    code: int
    cpu: float


def main() -> None:
    """Serve runs until the socket is closed."""
    gc.disable()  # holes in the heap would make the children copy more of it
    kernel.no_new_privileges()
    connection = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(connection.recv(1 << 16))
    os.sched_setaffinity(0, {settings["cpu"]})
    library = _library()
    roles = {
        role: confine.prepare(
            Path(place["scratch"]),
            place["user"],
            library,
            files=settings["files"],
            calls=settings["calls"],
        )
        for role, place in settings["roles"].items()
    }
    for name in _PRELOADED:
        importlib.import_module(name)
    sys.path[:] = [path for path in sys.path if Path(path).is_relative_to(library)]
    null = os.open(os.devnull, os.O_RDWR)
    way = null
    if any(place.user is not None for place in roles.values()):
        way = _reach_library(library) or null
    peer.rehearse()
    program.forget_native()
    gc.freeze()
    connection.send(b"ready")
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, _MAX_DESCRIPTORS)
        if not data:
            return
        request = json.loads(data)
        limits = Limits(request["cpu"], request["memory"], request["idle"])
        children = _start(request["roles"], roles, descriptors, (null, way), limits)
        for descriptor in descriptors:
            os.close(descriptor)
        ends, reason = _watch(children, limits, connection)
        answer = {"ends": [end._asdict() for end in ends], "reason": reason}
        with contextlib.suppress(BrokenPipeError):
            connection.send(json.dumps(answer).encode())


def _start(
    names: list[str],
    roles: Mapping[str, confine.Confinement],
    descriptors: list[int],
    shared: tuple[int, int],
    limits: Limits,
) -> list[Child]:
    """Fork the children of one run: `descriptors` are output, report, then one source each."""
    output, report, *sources = descriptors
    null, way = shared
    pipes: list[int] = []
    if len(names) == 2:
        (first_in, second_out), (second_in, first_out) = os.pipe(), os.pipe()
        pipes = [first_in, first_out, second_in, second_out]
    children = []
    for index, name in enumerate(names):
        own = pipes[2 * index : 2 * index + 2] or [null, null]
        places = [null, output, output, report, *own, sources[index], way]
        pid = os.fork()
        if pid == 0:
            _become(name, roles[name], places, limits)
        children.append(Child(name, pid, os.pidfd_open(pid)))
    for pipe in pipes:
        os.close(pipe)
    return children


def _become(role: str, confinement: confine.Confinement, places: list[int], limits: Limits) -> None:
    """Be the child: put the descriptors in their places, confine, run; never returns."""
    code = 1
    try:
        parent = os.getppid()
        moved = [
            fcntl.fcntl(place, fcntl.F_DUPFD_CLOEXEC, confine.OUT_OF_THE_WAY) for place in places
        ]
        for place, descriptor in enumerate(moved):
            os.dup2(descriptor, place)
        confine.enter(confinement, parent, math.ceil(limits.cpu) + 1, limits.memory)
        os.write(program.REPORT, program.CONFINED)
        gc.enable()
        _ROLES[role]()
        code = 0
    except BaseException:  # noqa: BLE001 (a forked child must never return into the server's loop)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


_ROLES: Mapping[str, Callable[[], None]] = {
    "program": program.program,
    "solution": program.solution,
    "test": program.test,
}


def _watch(
    children: list[Child], limits: Limits, connection: socket.socket
) -> tuple[list[End], str]:
    """Wait for the children, kill them at a limit or when the caller is gone, reap them all.

    Time spent waiting for a CPU counts for nothing, so that a loaded machine fails no program.
    """
    started, reason = time.monotonic(), ""
    running, ends = {child.pidfd: child for child in children}, list[End]()
    poll = select.poll()
    for pidfd in running:
        poll.register(pidfd, select.POLLIN)
    poll.register(connection.fileno(), select.POLLHUP)
    patience = min(limits.cpu, limits.idle)
    while running:
        ready = poll.poll(max(1, math.ceil(patience * 1000)))
        for descriptor, _ in ready:
            if descriptor not in running:
                poll.unregister(descriptor)
                reason = "abandoned"
                continue
            child = running.pop(descriptor)
            ends.append(_reap(child))
            poll.unregister(descriptor)
            os.close(descriptor)
            if child.role == "test" and not reason:
                reason = "over"
        if not ready:
            used = sum(end.cpu for end in ends) + sum(map(_cpu, running.values()))
            queued = sum(map(_queued, running.values()))
            idle = time.monotonic() - started - used - queued
            if used >= limits.cpu:
                reason = "cpu"
            elif idle >= limits.idle:
                reason = "idle"
            patience = min(limits.cpu - used, limits.idle - idle)
        if reason:
            for pidfd in running:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    return ends, reason


def _reap(child: Child) -> End:
    _, status, usage = os.wait4(child.pid, 0)
    return End(child.role, os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)


def _cpu(child: Child) -> float:
    """Return the CPU seconds of a live child (its clock's number: see clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime((~child.pid << 3) | 2)
    except OSError:
        return 0.0


def _queued(child: Child) -> float:
    """Return the seconds for which a child was ready to run and had no CPU."""
    try:
        text = Path(f"/proc/{child.pid}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) / 1e9


def _library() -> Path:
    """Return the folder of the standard library."""
    return Path(os.__file__).resolve().parent


def _reach_library(library: Path) -> int | None:
    """Import through a descriptor where another user may not walk to the interpreter's folder.

    Returns the descriptor that children find at number `program.LIBRARY`.
    """
    if all(folder.stat().st_mode & 0o001 for folder in library.parents):
        return None
    new = f"/proc/self/fd/{program.LIBRARY}"
    for paths in [sys.path, *_package_paths()]:
        paths[:] = [path.replace(str(library), new) for path in paths]
    sys.path_importer_cache.clear()
    return os.open(library, os.O_PATH | os.O_CLOEXEC)


def _package_paths() -> list[list[str]]:
    modules: list[Any] = list(sys.modules.values())
    return [m.__path__ for m in modules if isinstance(getattr(m, "__path__", None), list)]
