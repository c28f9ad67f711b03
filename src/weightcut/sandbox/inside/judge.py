"""The process that runs tests: it holds the test and the secret, and no line of the solution.

A fresh process for every test would double the cost of a run. So one judge does the tests that
cannot leave anything behind for the next; after a test that might, it says that it is spent, and
the fork server makes another. The tests are the benchmark's, not an attacker's: what is looked for
is a habit (patching a module, seeding a generator), not an attack.
"""

from __future__ import annotations

import builtins
import json
import opcode
import os
import socket
import sys
import types

from weightcut.sandbox.inside import confine, program
from weightcut.sandbox.inside.peer import Names, Peer
from weightcut.sandbox.inside.wire import Pipes

CHANNEL = 8
"""The descriptor of the socket by which runs arrive."""
CALLS = ("recvmsg",)
"""What the judge may do beside the usual: take descriptors from that socket."""
REUSABLE, SPENT = b"reusable", b"spent"

_PLACES = (1, program.REPORT, program.RECEIVE, program.SEND, program.SOURCE)
_NULL = 0
_STATELESS = frozenset(
    ("math", "cmath", "string", "typing", "collections", "itertools", "functools", "copy")
)
_LEAVES_TRACES = frozenset(
    """
    breakpoint compile delattr eval exec exit getattr globals help input locals memoryview
    open quit register setattr type vars
    """.split()  # noqa: SIM905
)
_STORES = frozenset(opcode.opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR"))


def judge() -> None:
    """Run tests until the fork server is gone."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=CHANNEL)
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, 1 << 10, len(_PLACES))
        if not data:
            return
        cpu, memory, _ = json.loads(data)
        for place, descriptor in zip(_PLACES, descriptors, strict=True):
            os.dup2(descriptor, place)
            os.close(descriptor)
        os.dup2(1, 2)
        confine.limit_once(cpu, memory)
        os.write(program.REPORT, program.CONFINED)
        reusable = _test()
        for place in (1, 2, *_PLACES):
            os.dup2(_NULL, place)
        os.write(CHANNEL, REUSABLE if reusable else SPENT)


def _test() -> bool:
    """Run one test; return whether another may follow in this process."""
    peer = Peer(Pipes(program.RECEIVE, program.SEND), {}, guarded=True)
    sys.modules["__main__"] = types.ModuleType("__main__")
    code = program.run(Names(peer), before=lambda: peer.wait([]))
    return code is None or leaves_nothing(code)


def leaves_nothing(code: types.CodeType) -> bool:
    """Return whether code only computes with what it makes itself and with stateless modules."""
    if not _STORES.isdisjoint(code.co_code[::2]) or not all(map(_harmless, code.co_names)):
        return False
    return all(leaves_nothing(c) for c in code.co_consts if isinstance(c, types.CodeType))


def _harmless(name: str) -> bool:
    if name.startswith("_") or name in _LEAVES_TRACES:
        return False
    return name in _STATELESS or hasattr(builtins, name) or name not in sys.stdlib_module_names
