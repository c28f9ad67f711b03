"""How fast this machine is at what models do, measured in a few seconds and kept for a day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import Field, ValidationError

from weightcut import settings
from weightcut.files import write_whole
from weightcut.hardware import probe
from weightcut.records import Record, digest

FILE = "speed.json"
_DAY, _SOON = 86_400.0, 900.0  # seconds that it is kept: of a quiet machine, of a busy one
_BUSY = 0.5  # runnable processes for each core from which on a machine counts as busy
_PATIENCE = 120.0  # seconds that the measurement may take, on a machine that is busy
_SCHEMA = 2


class Speed(Record):
    """What one process can do here with all of its cores.

    The defaults are those of the machine that weightcut's costs were measured on, 2 cores with
    AVX512 and AMX, measured while it was quiet (2026-11-22).
    """

    gemm: float = Field(1.3e12, gt=0, description="FLOP/s of bf16 matrix products of torch")
    read: float = Field(5.1e10, gt=0, description="bytes/s read from memory by all cores")
    dispatch: float = Field(7.2e-7, gt=0, description="seconds of one small operation of torch")
    start: float = Field(4.5, gt=0, description="seconds to start Python with transformers")


REFERENCE = Speed()


def speed() -> Speed:
    """Return this machine's speed: measured today already, else measured now.

    What was measured while the machine did other work is measured anew after a quarter of an hour.
    Where torch is not installed, or the measurement fails, the reference machine's speed.
    """
    path = settings.home() / FILE
    here = _key()
    with suppress(OSError, ValueError, KeyError, TypeError):  # no file, or none that we wrote
        found = json.loads(path.read_text())
        if found["machine"] == here and 0 <= time.time() - found["at"] < found["kept_s"]:
            return Speed.model_validate(found["speed"])
    kept = _SOON if os.getloadavg()[0] > _BUSY * probe.cores() else _DAY
    measured = _measured_elsewhere()
    if measured is None:
        return REFERENCE
    record = {"machine": here, "at": time.time(), "kept_s": kept, "speed": measured.model_dump()}
    with suppress(OSError):  # a folder that we may not write to: measured anew each time
        write_whole(path, json.dumps(record, indent=1).encode())
    return measured


def measure(begin: float) -> Speed:
    """Measure in this process; `begin` is the time (time.time) at which it was started."""
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401 - what a worker imports at least

    start = time.time() - begin
    with torch.inference_mode():
        left = torch.randn(1024, 1024, dtype=torch.bfloat16)
        gemm = 2 * 1024**3 / _best(lambda: left @ left, 12)
        # Larger than the caches; a matrix times a vector reads it once, as decoding does.
        wide, vector = torch.ones(8192, 4096), torch.ones(4096)
        read = wide.nbytes / _best(lambda: wide @ vector, 20)
        small = torch.ones(8)

        def many() -> None:
            for _ in range(1000):
                small.add(small)

        dispatch = _best(many, 5) / 1000
    return Speed(gemm=gemm, read=read, dispatch=dispatch, start=start)


def _best(run: Callable[[], Any], times: int) -> float:
    """Return the seconds of the quickest of several runs, which other work disturbs least."""
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


@cache
def _measured_elsewhere() -> Speed | None:
    """Measure in a process of its own, so that this one need not import torch."""
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-P", "-m", "weightcut.hardware.speed", str(time.time())],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
            env=settings.isolated_environment(),
        )
        return Speed.model_validate_json(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValidationError, IndexError):
        return None  # the callers say that the figures are those of the reference machine


def _key() -> str:
    """Return a digest of what the measurement depends on."""
    here = probe.machine()
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return digest([_SCHEMA, here["cpu"], here["cpu_flags"], here["cores"], torch, threads])


if __name__ == "__main__":
    sys.stdout.write(measure(float(sys.argv[1])).model_dump_json() + "\n")
