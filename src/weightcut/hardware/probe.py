"""What this machine is, for records of results: no host name, no serial number, no user."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from weightcut import settings

# What decides which CPU kernels run.
_FLAGS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # cgroup v1 writes a number near 2^63 for "no limit"


def machine() -> dict[str, Any]:
    """Return what readers of a result must know of this machine; sizes in bytes.

    Cores and memory are those that this process may use: affinity and control groups count.
    """
    name, flags = _cpu()
    return {
        "cpu": name,
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores_physical": psutil.cpu_count(logical=False),
        "cores": cores(),
        "memory_bytes": memory_total(),
        "memory_available_bytes": memory_available(),
        "disk_free_bytes": disk_free(settings.home()),
        "gpus": [dict(gpu) for gpu in gpus()],
        "os": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }


def cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cpu_quota()
    usable = allowed or 1
    return max(1, min(usable, int(quota)) if quota else usable)


def memory_total() -> int:
    """Return the memory that this process may use, in bytes."""
    total = int(psutil.virtual_memory().total)
    limits = [limit for limit, _ in _memory_groups()]
    return min([total, *limits])


def memory_available() -> int:
    """Return the memory that this process could still take without swapping, in bytes."""
    available = int(psutil.virtual_memory().available)
    left = [max(0, limit - used) for limit, used in _memory_groups()]
    return min([available, *left])


def disk_free(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on or will be on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@cache
def gpus() -> tuple[dict[str, Any], ...]:
    """Return name, memory_bytes, compute_capability and driver of each NVIDIA GPU, if any."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    fields = "name,memory.total,compute_cap,driver_version"
    try:
        done = subprocess.run(  # noqa: S603
            [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        # The tool is there and the driver is not: to every method that is no GPU.
        return ()
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> tuple[dict[str, Any], ...]:
    """Return the GPUs in nvidia-smi's CSV; a field that it does not know ('[N/A]') is None."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.rsplit(",", 3)]
        if len(cells) == 4:
            name, memory, capability, driver = cells
            known = memory.isdigit()
            found.append(
                {
                    "name": name,
                    "memory_bytes": int(memory) << 20 if known else None,
                    "compute_capability": None if "N/A" in capability else capability,
                    "driver": driver,
                }
            )
    return tuple(found)


@cache
def _cpu() -> tuple[str, frozenset[str]]:
    """Return the CPU's model name and flags."""
    found: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip().lower(), value.strip())
    name = found.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(found.get("flags", found.get("features", "")).split())


def _groups(controller: str) -> list[Path]:
    """Return this process's control groups from its own up to the root, version 2 or 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    roots: list[tuple[Path, str]] = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers == "":
            roots.append((_CGROUP, inside))
        elif controller in controllers.split(","):
            roots.append((_CGROUP / controller, inside))
    found: list[Path] = []
    for root, inside in roots:
        # In a container the path may be the host's; then only the root is there.
        group = root / inside.lstrip("/")
        upwards = (folder for folder in (group, *group.parents) if folder.is_relative_to(root))
        found.extend(folder for folder in upwards if folder.is_dir())
    return found


def _memory_groups() -> list[tuple[int, int]]:
    """Return (limit, use) in bytes of each control group that limits memory.

    Pages of files that the kernel can drop at once are not counted as use.
    """
    found = []
    for group in _groups("memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes")
        if limit is not None and limit < _NO_LIMIT:
            found.append((limit, max(0, (used or 0) - _droppable(group / "memory.stat"))))
    return found


def _droppable(stat: Path) -> int:
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values.get("inactive_file", 0)) + int(values.get("active_file", 0))


def _cpu_quota() -> float | None:
    """Return the least number of cores that a control group allows, None without a limit."""
    quotas = []
    for group in _groups("cpu"):
        try:
            quota, period = (group / "cpu.max").read_text().split()
        except (OSError, ValueError):
            quota = str(_number(group / "cpu.cfs_quota_us") or "max")
            period = str(_number(group / "cpu.cfs_period_us") or 100_000)
        if quota.isdigit() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
