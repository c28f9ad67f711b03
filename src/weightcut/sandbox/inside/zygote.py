"""The fork server: one warm interpreter that forks a confined child for every program.

It speaks with `weightcut.sandbox.worker` over one socket. It never reads a program, a test or a
secret: those arrive as descriptors, which only the child that they are meant for reads. One run at
a time; what ran the solution is dead and reaped before it is answered.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from weightcut.sandbox.inside import confine, judge, kernel, peer, program, watch

_PRELOADED = """
    abc bisect calendar cmath collections.abc copy datetime decimal fractions functools hashlib
    heapq importlib.util inspect itertools json math operator random re runpy statistics string
    textwrap traceback typing types dataclasses enum contextlib linecache struct
""".split()  # noqa: SIM905
# Loaded before the filter forbids it. Left out: what needs a terminal, and what reads memory.
_NATIVE = """
    _asyncio _bisect _blake2 _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr
    _codecs_tw _contextvars _csv _datetime _decimal _elementtree _hashlib _heapq _json _lsprof _lzma
    _md5 _multibytecodec _multiprocessing _opcode _pickle _posixsubprocess _queue _random _sha1
    _sha2 _sha256 _sha3 _sha512 _socket _sqlite3 _ssl _statistics _struct _uuid _zoneinfo array
    audioop binascii cmath fcntl grp math mmap pyexpat resource select termios unicodedata zlib
""".split()  # noqa: SIM905
_MAX_DESCRIPTORS = 8


class Server:
    """The state of the fork server: the ways into confinement, and the judge if one is alive."""

    def __init__(self, connection: socket.socket, settings: Any) -> None:
        self._caller = connection
        library = standard_library()
        self._roles = {
            role: confine.prepare(
                Path(place["scratch"]),
                place["user"],
                library,
                files=settings["files"],
                calls=settings["calls"],
                extra=judge.CALLS if role == "test" else place["calls"],
                readable=place["readable"],
                executable=place["executable"],
                map_below=place["map_below"],
                own=place["own"],
                pretended=place["pretended"],
            )
            for role, place in settings["roles"].items()
        }
        self._environment = next(iter(settings["roles"].values()))["environment"]
        for name in () if "tool" in self._roles else _PRELOADED:
            importlib.import_module(name)
        for name in _NATIVE if "program" in self._roles else ():
            with contextlib.suppress(ImportError):  # not in this build, or a library is missing
                importlib.import_module(name)
        sys.path[:] = [path for path in sys.path if Path(path).is_relative_to(library)]
        self._null = os.open(os.devnull, os.O_RDWR)
        self._way = self._null
        if any(place.user is not None for place in self._roles.values()):
            self._way = _reach_library(library) or self._null
        self._judge: watch.Child | None = None

    def run(self, roles: list[str], limits: watch.Limits, descriptors: list[int]) -> watch.Outcome:
        """Do one run: `descriptors` are output, report, then one source for each role."""
        output, report, source, *test_source = descriptors
        places = [self._null, output, output, report, self._null, self._null, source, self._way]
        if roles == ["program"]:
            return watch.watch([self._fork("program", places, limits)], limits, self._caller)
        if self._judge is not None and watch.is_dead(self._judge):  # killed for memory, say
            watch.reap(self._judge)
            self._judge = None
        if self._judge is None:
            self._judge = self._new_judge()
        jury = self._judge._replace(spent=watch.cpu(self._judge._replace(spent=0.0)))
        (from_test, to_solution), (from_solution, to_test) = os.pipe(), os.pipe()
        places[program.RECEIVE], places[program.SEND] = from_test, to_test
        solution = self._fork("solution", places, limits)
        assert jury.channel is not None
        socket.send_fds(
            jury.channel,
            [json.dumps(limits).encode()],
            [output, report, from_solution, to_solution, *test_source],
        )
        for pipe in (from_test, to_solution, from_solution, to_test):
            os.close(pipe)
        outcome = watch.watch([solution, jury], limits, self._caller)
        if outcome.said == judge.SPENT:
            watch.dismiss(jury)
        if outcome.said != judge.REUSABLE:
            self._judge = None
        return outcome

    def start(
        self, command: list[str], limits: watch.Limits, descriptors: list[int]
    ) -> watch.Outcome:
        """Run another program than Python: `descriptors` are output, report, standard input."""
        output, report, source = descriptors
        places = [source, output, output, report]

        def become_it() -> None:
            os.close(program.REPORT)
            os.execve(command[0], command, {**os.environ, **self._environment})  # noqa: S606

        return watch.watch([self._fork("tool", places, limits, become_it)], limits, self._caller)

    def tidy(self) -> None:
        """Remove the empty scratch folders: the caller does so too, unless it was killed."""
        folders = [Path(role.scratch) for role in self._roles.values()]
        for folder in (*folders, folders[0].parent):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _new_judge(self) -> watch.Child:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        places = [self._null] * len(program.PLACES)
        places[program.LIBRARY], places[judge.CHANNEL] = self._way, theirs.fileno()
        child = self._fork("test", places, None)
        theirs.close()
        return child._replace(channel=ours)

    def _fork(
        self,
        role: str,
        places: list[int],
        limits: watch.Limits | None,
        action: Callable[[], None] | None = None,
    ) -> watch.Child:
        pid = os.fork()
        if pid == 0:
            limit = confine.limit if action is None else confine.limit_runtime
            _become(self._roles[role], places, limits, limit, action or _ROLES[role])
        return watch.Child(role, pid, os.pidfd_open(pid))


def main() -> None:
    """Serve runs until the socket is closed."""
    gc.disable()  # holes in the heap would make the children copy more of it
    kernel.no_new_privileges()
    connection = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(connection.recv(1 << 16))
    os.sched_setaffinity(0, {settings["cpu"]})
    server = Server(connection, settings)
    peer.rehearse()
    program.forget_native()
    gc.freeze()
    connection.send(b"ready")
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, _MAX_DESCRIPTORS)
        if not data:
            server.tidy()
            return
        request = json.loads(data)
        limits = watch.Limits(*request["limits"])
        if request["command"]:
            outcome = server.start(request["command"], limits, descriptors)
        else:
            outcome = server.run(request["roles"], limits, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        answer = {"ends": [end._asdict() for end in outcome.ends], "reason": outcome.reason}
        with contextlib.suppress(BrokenPipeError):
            connection.send(json.dumps(answer).encode())


def _become(
    confinement: confine.Confinement,
    places: list[int],
    limits: watch.Limits | None,
    limit: Callable[[float, int], None],
    action: Callable[[], None],
) -> None:
    """Be the child: put the descriptors in their places, confine, act; never returns."""
    code = 1
    try:
        parent = os.getppid()
        moved = [
            fcntl.fcntl(place, fcntl.F_DUPFD_CLOEXEC, confine.OUT_OF_THE_WAY) for place in places
        ]
        for place, descriptor in enumerate(moved):
            os.dup2(descriptor, place)
        confine.enter(confinement, parent, len(places))
        if limits is not None:
            limit(limits.cpu, limits.memory)
            os.write(program.REPORT, program.CONFINED)
        gc.enable()
        action()
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
    "test": judge.judge,
}


def standard_library() -> Path:
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
