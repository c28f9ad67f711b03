"""Calls between the process that holds the solution and the process that holds its test.

The test never enters the solution's memory: the solution sees the arguments of one call at a time
and answers with plain data, which the test compares for itself. What cannot travel is reached by
handle (`Remote`). Comparing a handle with plain data is never true and is not asked of the
solution, so no object that claims to equal everything can be of use.
"""

from __future__ import annotations

import builtins
import operator
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from weightcut.sandbox.inside.wire import Decoder, Disconnected, Encoder, Pipes

_UNARY = ("len", "iter", "next", "str", "bool")
_BETWEEN_HANDLES = (
    "eq", "ne", "lt", "le", "gt", "ge",
    "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor",
)  # fmt: skip
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "getattr": getattr,
    "setattr": setattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    **{name: getattr(builtins, name) for name in _UNARY},
    **{name: getattr(operator, name) for name in _BETWEEN_HANDLES},
}
_NAMES = 0
"""The handle of the namespace itself; operation `name` looks a name up in it."""

_REHEARSALS = 50
_NO_ARGUMENTS = ["tuple", [["tuple", []], ["dict", []]]]


class Peer:
    """One end. The solution's end is `open`: it does whatever it is asked with its own objects.

    The test's end is guarded: the solution may call functions that it was given, iterate over
    iterators that it was given, and use the public attributes of instances of the test's classes.
    """

    def __init__(self, pipes: Pipes, names: Mapping[str, Any], *, guarded: bool) -> None:
        self._pipes, self._guarded = pipes, guarded
        self._mine: list[Any] = [names]
        self._numbers: dict[int, int] = {}
        self._theirs: dict[int, Remote] = {}

    def ask(self, operation: str, target: int, *args: Any, **kwargs: Any) -> Any:
        """Have the other process do something; raises what it raised, as a built-in exception."""
        sent: list[Any] = []
        encoder = Encoder(self._export, sent)
        self._pipes.send(["ask", operation, target, encoder.encode((args, kwargs))])
        return self.wait(sent)

    def wait(self, sent: list[Any]) -> Any:
        """Serve the other process until its answer; `sent` are the containers it may change."""
        while (answer := self._pipes.receive())[0] == "ask":
            self._serve(*answer[1:])
        decoder = Decoder(self._import, sent)
        if answer[0] == "raise":
            raise _exception(answer[1], answer[2])
        result = decoder.decode(answer[1])
        for number, contents in answer[2]:
            decoder.fill(sent[number], contents)
        return result

    def serve_forever(self) -> None:
        """Answer until the other process is gone."""
        while True:
            self._serve(*self._pipes.receive()[1:])

    def answer(self, action: Callable[..., Any], arguments: Any = _NO_ARGUMENTS) -> None:
        """Do it and send what came of it, with the new contents of changed containers."""
        received: list[Any] = []
        try:
            args, kwargs = Decoder(self._import, received).decode(arguments)
            before = [_shallow(container) for container in received]
            result = action(*args, **kwargs)
            encoder = Encoder(self._export, received)
            reply = ["return", encoder.encode(result), []]
            for number, old in enumerate(before):
                now = _shallow(received[number])
                if len(old) != len(now) or not all(map(operator.is_, old, now)):
                    reply[2].append([number, encoder.contents(received[number])])
        except Disconnected:
            raise
        except BaseException as error:  # noqa: BLE001 (whatever the program raises is an answer)
            reply = ["raise", [kind.__name__ for kind in type(error).__mro__], _text(error)]
        self._pipes.send(reply)

    def _serve(self, operation: str, target: int, arguments: Any) -> None:
        self.answer(partial(self._perform, operation, target), arguments)

    def _perform(self, operation: str, target: int, /, *args: Any, **kwargs: Any) -> Any:
        if operation == "name":
            return self._mine[_NAMES][args[0]]
        subject = self._mine[target]
        if self._guarded:
            _guard(operation, subject, args)
        return _OPERATIONS[operation](subject, *args, **kwargs)

    def _export(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return ["home", object.__getattribute__(value, "_number")]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        name = getattr(value, "__name__", "")
        if isinstance(value, type) and vars(builtins).get(name) is value:
            return ["builtin", name]
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._mine)
            self._mine.append(value)
        return ["away", number]

    def _import(self, tag: str, body: Any) -> Any:
        if tag == "home":
            return self._mine[body]
        if tag == "away":
            if body not in self._theirs:
                self._theirs[body] = Remote(self, body)
            return self._theirs[body]
        if tag == "builtin" and isinstance(kind := getattr(builtins, body), type):
            return kind
        if tag == "module" and isinstance(module := sys.modules.get(body), types.ModuleType):
            return module
        raise TypeError(f"{tag!r} is not part of the protocol")


class Remote:
    """An object of the other process."""

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return _ask(self, "call", *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return _ask(self, "getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask(self, "setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        _ask(self, "delitem", key)

    def __len__(self) -> int:
        return operator.index(_ask(self, "len"))

    def __iter__(self) -> Any:
        return _ask(self, "iter")

    def __next__(self) -> Any:
        return _ask(self, "next")

    def __str__(self) -> str:
        return str(_ask(self, "str"))

    def __bool__(self) -> bool:
        return _ask(self, "bool") is True

    def __repr__(self) -> str:
        return f"<object {object.__getattribute__(self, '_number')} of the solution>"

    def __hash__(self) -> int:
        return id(self)


def _between(operation: str) -> Callable[[Remote, object], Any]:
    def method(self: Remote, other: object) -> Any:
        if not isinstance(other, Remote):
            return NotImplemented
        return _ask(self, operation, other)

    return method


for _name in _BETWEEN_HANDLES:
    setattr(Remote, f"__{_name.rstrip('_')}__", _between(_name))


class Names(dict[str, Any]):
    """The test's namespace: names that it does not define itself are the solution's.

    Built-in names are always Python's own: a solution cannot give the test another `abs`.
    """

    def __init__(self, peer: Peer) -> None:
        super().__init__(__name__="__main__", __builtins__=builtins)
        self._peer = peer

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name):
            raise KeyError(name)
        return self._peer.ask("name", _NAMES, name)


def rehearse() -> None:
    """Make calls to ourselves, so that the interpreter has tuned this code before the fork.

    A child would otherwise tune it in its own copy of the memory, for every run anew.
    """
    receive, send = os.pipe()
    peer = Peer(Pipes(receive, send), {"reverse": reversed, "echo": list}, guarded=False)
    code = compile("list(reverse(echo([1, 2.0, 'three', (4,), {5: None}])))", "rehearsal", "exec")
    for _ in range(_REHEARSALS):
        exec(code, Names(peer))  # noqa: S102
    os.close(receive)
    os.close(send)


class Left(BaseException):
    """The solution tried to end the program (SystemExit and its like)."""


def _ask(remote: Remote, operation: str, *args: Any, **kwargs: Any) -> Any:
    peer: Peer = object.__getattribute__(remote, "_peer")
    return peer.ask(operation, object.__getattribute__(remote, "_number"), *args, **kwargs)


def _guard(operation: str, subject: Any, args: Sequence[Any]) -> None:
    """Let the solution do with an object of the test what cannot lead beyond it, else TypeError."""
    if operation == "bool" or (operation == "call" and callable(subject)):
        return
    if operation in ("iter", "next") and hasattr(subject, f"__{operation}__"):
        return
    if type(subject).__module__ == "__main__":  # the test's own class
        if operation not in ("getattr", "setattr"):
            return
        if isinstance(args[0], str) and not args[0].startswith("_"):
            return
    raise TypeError(f"{operation} is not allowed on this object of the test")


def _shallow(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [part for item in container.items() for part in item]
    return list(container)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 (the program's own exception may raise anything)
        return ""


def _exception(names: list[str], text: str) -> BaseException:
    """Return the nearest built-in exception, saying first what it was where it was raised."""
    for name in names:
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            if not issubclass(kind, Exception):
                return Left(f"the solution raised {names[0]}")
            try:
                return kind(text)
            except TypeError:  # one that wants more than a message
                break
    return RuntimeError(f"{names[0]}: {text}")
