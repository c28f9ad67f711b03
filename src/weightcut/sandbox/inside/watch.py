"""Children of the fork server: waiting for them, their limits, their end."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple


class Limits(NamedTuple):
    """CPU seconds, bytes, and seconds in which a run may neither compute nor wait for a CPU."""

    cpu: float
    memory: int
    idle: float


class Child(NamedTuple):
    """A live child. One with a `channel` outlives its runs and says there when one is over."""

    role: str
    pid: int
    pidfd: int
    channel: socket.socket | None = None
    spent: float = 0.0  # CPU seconds of its earlier runs


class End(NamedTuple):
    """How a child's part in a run ended: exit code (negative: signal) and CPU seconds."""

    role: str
    code: int
    cpu: float


class Outcome(NamedTuple):
    """How a run ended, why it was stopped if it was, and the last words on the channel if any."""

    ends: list[End]
    reason: str
    said: bytes


def watch(children: list[Child], limits: Limits, caller: socket.socket) -> Outcome:
    """Wait until the run is over; kill it at a limit or when the caller is gone; reap the dead.

    Time spent waiting for a CPU counts for nothing, so that a loaded machine fails no program.
    The one child that may be alive afterwards is one with a channel that said that it is done.
    """
    started, reason, said = time.monotonic(), "", b""
    running, ends = {child.pidfd: child for child in children}, list[End]()
    closed = set[int]()
    channels = {c.channel.fileno(): c for c in children if c.channel is not None}
    poll = select.poll()
    for descriptor in (*running, *channels):
        poll.register(descriptor, select.POLLIN)
    poll.register(caller.fileno(), select.POLLHUP)
    patience = min(limits.cpu, limits.idle)
    while running:
        ready = poll.poll(max(1, math.ceil(patience * 1000)))
        for descriptor, _ in ready:
            if descriptor in closed:
                continue
            poll.unregister(descriptor)
            if descriptor in channels:
                # Its last words, or nothing: then it is dead, and its pidfd says so too.
                child = channels.pop(descriptor)
                said = os.read(descriptor, 64)
                if said:
                    del running[child.pidfd]
                    ends.append(End(child.role, 0, cpu(child)))
                    reason = reason or "over"
            elif descriptor in running:
                child = running.pop(descriptor)
                if child.channel is not None:
                    closed.add(child.channel.fileno())
                    if channels.pop(child.channel.fileno(), None):
                        poll.unregister(child.channel.fileno())
                    reason = reason or "over"
                ends.append(reap(child))
            else:
                reason = "abandoned"
        if not ready:
            used = sum(end.cpu for end in ends) + sum(map(cpu, running.values()))
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
    return Outcome(ends, reason, said)


def dismiss(child: Child) -> None:
    """Kill a child between two runs, and reap it."""
    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    reap(child)


def is_dead(child: Child) -> bool:
    """Return whether a child waits to be reaped."""
    return bool(select.select([child.pidfd], [], [], 0)[0])


def cpu(child: Child) -> float:
    """Return the CPU seconds of a live child in this run (see clock_getcpuclockid(3))."""
    try:
        return time.clock_gettime((~child.pid << 3) | 2) - child.spent
    except OSError:
        return 0.0


def reap(child: Child) -> End:
    """Wait for a child's end, and close what leads to it."""
    _, status, usage = os.wait4(child.pid, 0)
    os.close(child.pidfd)
    if child.channel is not None:
        child.channel.close()
    spent = usage.ru_utime + usage.ru_stime - child.spent
    return End(child.role, os.waitstatus_to_exitcode(status), spent)


def _queued(child: Child) -> float:
    """Return the seconds for which a child's threads were ready to run and had no CPU."""
    total = 0
    for path in Path(f"/proc/{child.pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            total += int(path.read_text().split()[1])
    return total / 1e9
