"""What a confined child does: run a program, or a solution that another process tests.

How *passed* is proven. The child gets a secret of 16 bytes together with its program, and writes
it to the report pipe once the program has reached its last line. While the program runs, the one
function that knows the secret lies on the interpreter's value stack, where no name, frame, module
or container refers to it. The doors that could still lead there from Python (the garbage
collector's lists, tracing, code objects made by hand, ctypes, other interpreters) end the process.
Native code that reads its own process's memory could find it: a test run therefore keeps the secret
in the test's process (`judge`), which runs no line of the solution.
"""

from __future__ import annotations

import _imp
import builtins
import importlib
import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from weightcut.sandbox.inside.peer import Peer
from weightcut.sandbox.inside.wire import Disconnected, Pipes

PLACES = range(9)
REPORT, RECEIVE, SEND, SOURCE, LIBRARY = 3, 4, 5, 6, 7
"""Descriptors: the report, the other process of a test run, the program, the standard library."""
SECRET_BYTES = 16
CONFINED = b"+"
"""What every child writes to the report before it runs a line that is not ours."""
DOOR_EXIT, MEMORY_EXIT = 77, 78
"""Exit codes for a forbidden door of the interpreter and for a solution out of memory."""

_NATIVE = (
    "ctypes", "_ctypes", "_testcapi", "_testinternalcapi", "_testlimitedcapi", "_interpreters",
    "_xxsubinterpreters",
)  # fmt: skip
_BLOCKED = ("gaierror", "herror")


def program() -> None:
    """Run one program that has this process to itself."""
    _bar_doors()
    namespace = _module("__main__").__dict__
    run(namespace)


def solution() -> None:
    """Run a solution and answer the test's calls until the test is done."""
    os.close(REPORT)
    source = _read(SOURCE)
    os.close(SOURCE)
    module = _module("solution")
    peer = Peer(Pipes(RECEIVE, SEND), module.__dict__, guarded=False)

    def load() -> None:
        try:
            exec(compile(source, "<solution>", "exec"), module.__dict__)  # noqa: S102
        except Exception as error:
            _explain(error, module.__dict__)
            raise

    try:
        peer.answer(load)
        peer.serve_forever()
    except Disconnected:
        os._exit(0)
    except MemoryError:
        os._exit(MEMORY_EXIT)


def run(
    namespace: dict[str, Any], before: Callable[[], Any] = lambda: None
) -> types.CodeType | None:
    """Run the program in SOURCE and report; returns its code if it could be read."""
    code = None
    report: list[Callable[[Any], None]] = []
    try:
        before()
        code = _take(report)
        report.pop()(exec(code, namespace))  # type: ignore[func-returns-value]  # noqa: S102
    except BaseException as error:  # noqa: BLE001 (SystemExit too: leaving early is failing)
        os.write(REPORT, json.dumps({"error": _classify(error)}).encode())
        _explain(error, namespace)
    sys.stdout.flush()
    return code


def _explain(error: BaseException, namespace: dict[str, Any]) -> None:
    """Print the traceback of a program, without our own frames, to its error stream."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is not namespace:
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace))


def _take(report: list[Callable[[Any], None]]) -> types.CodeType:
    """Read secret and program, put the function that tells the secret on `report`."""
    data = _read(SOURCE)
    os.close(SOURCE)
    secret, write = data[:SECRET_BYTES], os.write

    def reached_last_line(_: Any) -> None:
        write(REPORT, secret)

    code: types.CodeType = compile(data[SECRET_BYTES:], "<program>", "exec")
    report.append(reached_last_line)
    return code


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _module(name: str) -> types.ModuleType:
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    return module


def forget_native() -> None:
    """Make the modules that reach native code unimportable."""
    for name in _NATIVE:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError


def _bar_doors() -> None:
    """End the process at the audit events of the forbidden doors.

    Code objects are made from source alone: bytecode made by hand can read any memory. So nothing
    is unmarshalled, compiled files neither.
    """
    external: Any = importlib._bootstrap_external
    external.cache_from_source = _no_cache
    del _imp.get_frozen_object
    sys.addaudithook(_door_hook(_natives()))


def _no_cache(*_: Any, **__: Any) -> str:
    raise NotImplementedError  # what importlib expects where nothing is cached


def _natives() -> str:
    """Return the folder of the native modules, as the path of each begins."""
    import _heapq

    return getattr(_heapq, "__file__", "/nowhere/").rpartition("/")[0] + "/"


def _door_hook(natives: str) -> Callable[[str, Any], None]:
    """Return the hook; `natives` is the folder from which native modules may be loaded.

    It holds all it needs in constants and defaults: it has no name and no cell that a program could
    reach and change, not even through the traceback of a hook that failed. It uses the methods of
    str itself, since a program may hand over a string of its own making.
    """

    def hook(
        event: str,
        args: Any,
        leave: Callable[[int], Any] = os._exit,
        last: Callable[[str, str], tuple[str, str, str]] = str.rpartition,
        starts: Callable[..., bool] = str.startswith,
        has: Callable[[str, str], bool] = str.__contains__,
        folder: str = natives,
    ) -> None:
        if event in (
            "gc.get_objects", "gc.get_referrers", "gc.get_referents", "code.__new__",
            "marshal.loads", "marshal.load", "sys.settrace", "sys.setprofile",
            "sys.monitoring.register_callback", "sys._current_frames", "sys._current_exceptions",
            "sys.remote_exec", "cpython.PyInterpreterState_New",
            "sqlite3.enable_load_extension", "sqlite3.load_extension",
        ) or starts(event, "ctypes."):  # fmt: skip
            leave(77)
        if event == "import":
            name, path = args[0], args[1]
            if starts(last(name, ".")[2], ("ctypes", "_ctypes", "_test", "_interp", "_xx")):
                leave(77)
            if path is not None and (
                not starts(path, folder)
                or has(path, "..")
                or has(path, "\0")
                or starts(last(path, "/")[2], ("_ctypes", "_test", "_interp", "_xx"))
            ):
                leave(77)

    return hook


def _classify(error: BaseException | None) -> str:
    """Return "memory", "blocked" or "error" for the exception that ended a program."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, PermissionError) or type(error).__name__ in _BLOCKED:
            return "blocked"
        error = error.__cause__ or error.__context__
    return "error"
