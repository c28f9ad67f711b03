"""Plain data as JSON with its length in front, between the two processes of a test run.

Neither side ever builds an object of the other's choosing: what arrives is None, numbers, strings,
the built-in containers and a few value types, always of exactly the built-in type, so that a
comparison made by the test is Python's own. Anything else stays where it is and travels as a
handle. Containers keep their identity within one call, so that a function may change its arguments
in place, return one of them, or be given a cyclic structure.
"""

from __future__ import annotations

import json
import os
import struct
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

MAX_MESSAGE = 64 << 20
"""Bytes; a larger message ends the run."""

_VALUES: dict[str, tuple[Callable[..., Any], Callable[[Any], list[Any]]]] = {
    "complex": (complex, lambda v: [v.real, v.imag]),
    "bytes": (bytes.fromhex, lambda v: [v.hex()]),
    "range": (range, lambda v: [v.start, v.stop, v.step]),
    "Decimal": (Decimal, lambda v: [str(v)]),
    "Fraction": (Fraction, lambda v: [v.numerator, v.denominator]),
    "date": (date.fromisoformat, lambda v: [v.isoformat()]),
    "time": (time.fromisoformat, lambda v: [v.isoformat()]),
    "datetime": (datetime.fromisoformat, lambda v: [v.isoformat()]),
    "timedelta": (timedelta, lambda v: [v.days, v.seconds, v.microseconds]),
}
_VALUE_NAMES: dict[type, str] = {
    kind: kind.__name__
    for kind in (complex, bytes, range, Decimal, Fraction, date, time, datetime, timedelta)
}
_CONTAINERS: dict[str, Any] = {
    "list": list,
    "dict": dict,
    "set": set,
    "deque": deque,
    "bytearray": bytearray,
}
_FIXED: dict[str, Any] = {"tuple": tuple, "frozenset": frozenset}
_JSON_INT = 1 << 63
_AT_ONCE = 1 << 16
_write_json = json.JSONEncoder(separators=(",", ":")).encode
_read_json = json.JSONDecoder().decode


class Disconnected(BaseException):
    """The other process is gone, or speaks nonsense."""


class Pipes:
    """A connection to the other process: one pipe each way, messages with a length in front."""

    def __init__(self, receive: int, send: int) -> None:
        self._receive, self._send = receive, send
        self._read_ahead = b""

    def send(self, message: Any) -> None:
        """Send JSON data; Disconnected when nobody is there to read it."""
        data = _write_json(message).encode()
        view = memoryview(struct.pack("=I", len(data)) + data)
        try:
            while view:
                view = view[os.write(self._send, view) :]
        except BrokenPipeError as error:
            raise Disconnected from error

    def receive(self) -> Any:
        """Wait for a message and return its JSON data; Disconnected at the end of the pipe."""
        [length] = struct.unpack("=I", self._read(4))
        if length > MAX_MESSAGE:
            raise Disconnected
        return _read_json(self._read(length).decode())

    def _read(self, length: int) -> bytes:
        data = self._read_ahead
        while len(data) < length:
            part = os.read(self._receive, max(_AT_ONCE, length - len(data)))
            if not part:
                raise Disconnected
            data += part
        self._read_ahead = data[length:]
        return data[:length]


class Encoder:
    """Turns the values of one call into JSON data; `handle` gives the data for other objects."""

    def __init__(self, handle: Callable[[Any], Any], containers: list[Any]) -> None:
        self._handle = handle
        self._containers = containers
        self._numbers = {id(container): n for n, container in enumerate(containers)}

    def encode(self, value: Any) -> Any:
        """Return JSON data for a value: scalars as they are, everything else as [tag, ...].

        Instances of subclasses are sent as what they are at heart: an IntEnum as an int, a
        Counter as a dict, a named tuple as a tuple.
        """
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if -_JSON_INT < value < _JSON_INT else ["int", hex(value)]
        if kind in _VALUE_NAMES:
            name = _VALUE_NAMES[kind]
            return [name, [self.encode(part) for part in _VALUES[name][1](value)]]
        for tag, base in _CONTAINERS.items():
            if isinstance(value, base):
                return self._container(tag, value)
        for tag, immutable in _FIXED.items():
            if isinstance(value, immutable):
                return [tag, [self.encode(item) for item in value]]
        for scalar in (int, float, str):
            if isinstance(value, scalar):
                return self.encode(scalar(value))
        return self._handle(value)

    def contents(self, container: Any) -> list[Any]:
        """Return JSON data for what a mutable container holds."""
        if isinstance(container, dict):
            return [[self.encode(key), self.encode(item)] for key, item in container.items()]
        return [self.encode(item) for item in container]

    def _container(self, tag: str, value: Any) -> Any:
        if id(value) in self._numbers:
            return ["same", self._numbers[id(value)]]
        self._numbers[id(value)] = len(self._containers)
        self._containers.append(value)
        return [tag, self.contents(value)]


class Decoder:
    """Builds the values of one call; `handle` turns the data of a handle into an object."""

    def __init__(self, handle: Callable[[str, Any], Any], containers: list[Any]) -> None:
        self._handle = handle
        self._containers = containers

    def decode(self, data: Any) -> Any:
        """Return the value; malformed data raises whatever it leads to."""
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise TypeError("an object is not part of the protocol")
            return data
        tag, body = data
        if tag == "same":
            return self._containers[body]
        if tag == "int":
            return int(body, 16)
        if tag in _CONTAINERS:
            container = _CONTAINERS[tag]()
            self._containers.append(container)
            self.fill(container, body)
            return container
        if tag in _FIXED:
            return _FIXED[tag](self.decode(item) for item in body)
        if tag in _VALUES:
            return _VALUES[tag][0](*[self.decode(part) for part in body])
        return self._handle(tag, body)

    def fill(self, container: Any, contents: list[Any]) -> None:
        """Give a mutable container new contents, keeping its identity."""
        if isinstance(container, dict):
            items = [(self.decode(key), self.decode(value)) for key, value in contents]
        else:
            items = [self.decode(item) for item in contents]
        container.clear()
        (container.update if isinstance(container, (dict, set)) else container.extend)(items)
