"""How busy the machine is with other work, and how much memory this process took."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def peak_rss_bytes() -> int:
    """Return the highest resident memory of this process so far, in bytes.

    VmHWM of /proc/self/status: getrusage would count the parent's memory at the fork as well.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def gpus_held() -> int:
    """Return how many GPUs this process keeps memory on through torch, without importing it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return 0
    return sum(cuda.max_memory_reserved(device) > 0 for device in range(cuda.device_count()))


class OthersLoad:
    """Share (0 to 1) of the machine's CPU time that went to other processes since it was made."""

    def __init__(self) -> None:
        self._start = _ticks()

    def share(self) -> float:
        """Return the share so far."""
        all_then, busy_then, own_then = self._start
        all_now, busy_now, own_now = _ticks()
        if all_now == all_then:
            return 0.0
        others = (busy_now - busy_then) - (own_now - own_then)
        return min(1.0, max(0.0, others / (all_now - all_then)))


def others_load(seconds: float = 0.5) -> float:
    """Watch the machine for some seconds and return the share of CPU time that others took."""
    watch = OthersLoad()
    time.sleep(seconds)
    return watch.share()


def wait_until_quiet(limit: float = 0.1, patience: float = 10.0) -> float:
    """Wait until others take less than `limit` of the CPU, at most `patience` seconds.

    Returns the last share seen.
    """
    end = time.monotonic() + patience
    while (share := others_load()) > limit and time.monotonic() < end:
        time.sleep(0.5)
    return share


def _ticks() -> tuple[float, float, float]:
    # user nice system idle iowait irq softirq steal: steal is a neighbour's, so it counts as busy
    fields = [float(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    own = os.times()
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(fields), sum(fields) - idle, (own.user + own.system) * ticks
