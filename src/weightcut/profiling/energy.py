"""Energy from the hardware's own counters, where this machine has them and lets us read them.

CPU and memory: the running average power limit (RAPL) through Linux' powercap files, one counter
of microjoules for each package, and for its memory where that has one of its own. GPUs: NVML's
total energy consumption, millijoules since the driver was loaded (from Volta on), for each device
that this process may see. The counters are of whole devices: other work on them counts too.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")
_FASTEST_WATTS = 1000.0  # no package takes more, so that a counter cannot go round unseen


class Counter(NamedTuple):
    """A counter of joules that goes back to 0 after `span` (infinity: never)."""

    name: str
    read: Callable[[], float]
    span: float


class Used(NamedTuple):
    """Joules that CPUs and GPUs took; None where no counter tells."""

    cpu: float | None
    gpu: float | None


class EnergyMeter:
    """Joules since `start`, from the counters that there are."""

    def __init__(self, cpu: list[Counter] | None = None, gpu: list[Counter] | None = None) -> None:
        self._cpu = rapl_counters() if cpu is None else cpu
        self._gpu = nvml_counters() if gpu is None else gpu
        self._began = 0.0
        self._first: dict[str, float] = {}

    def start(self) -> None:
        """Begin to count."""
        self._began = time.monotonic()
        self._first = {one.name: one.read() for one in (*self._cpu, *self._gpu)}

    def used(self) -> Used:
        """Return the joules since the start."""
        seconds = time.monotonic() - self._began
        return Used(self._sum(self._cpu, seconds), self._sum(self._gpu, seconds))

    def _sum(self, counters: list[Counter], seconds: float) -> float | None:
        if not counters or any(one.span < seconds * _FASTEST_WATTS for one in counters):
            return None
        total = 0.0
        for one in counters:
            grown = one.read() - self._first[one.name]
            total += grown if grown >= 0 else grown + one.span
        return total


def rapl_counters(root: Path = POWERCAP) -> list[Counter]:
    """Return the readable RAPL counters: packages, and memory that no package includes."""
    found = []
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            # `core` and `uncore` are parts of the package, `psys` holds all of it once more.
            if not name.startswith("package") and name != "dram":
                continue
            span = float((zone / "max_energy_range_uj").read_text()) / 1e6
            counter = Counter(zone.name, _file_reader(zone / "energy_uj"), span)
            counter.read()
        except (OSError, ValueError):
            continue  # most systems let only root read them
        found.append(counter)
    return found


def _file_reader(path: Path) -> Callable[[], float]:
    return lambda: float(path.read_text()) / 1e6


def nvml_counters() -> list[Counter]:
    """Return a counter for each GPU that this process may see; none without NVIDIA's driver."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    found = []
    for index in visible_gpus(count.value):
        device = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            continue
        read = _device_reader(library, device)
        if read() >= 0:
            found.append(Counter(f"gpu-{index}", read, float("inf")))
    return found


def _device_reader(library: ctypes.CDLL, device: ctypes.c_void_p) -> Callable[[], float]:
    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        failed = library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules))
        return -1.0 if failed else millijoules.value / 1000

    return read


def visible_gpus(count: int) -> list[int]:
    """Return which of `count` GPUs CUDA_VISIBLE_DEVICES leaves to this process.

    Names by UUID cannot be told apart here: then all of them count.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        return list(range(count))
    names = [name.strip() for name in said.split(",") if name.strip()]
    if all(name.lstrip("-").isdecimal() for name in names):
        return [int(name) for name in names if 0 <= int(name) < count]
    return list(range(count))
