"""Whether something can run here, and in one sentence why not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from weightcut import settings
from weightcut.hardware import probe


class Needs(Protocol):
    """What a method says it needs (`weightcut.compression.method.Requirements` is one).

    packages: names that must import. extra: the extra of weightcut that brings them. Memory and
    disk are in bytes, at the peak: a base and a part for each weight of the model.
    """

    @property
    def packages(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def extra(self) -> str: ...  # noqa: D102
    @property
    def gpu(self) -> bool: ...  # noqa: D102
    @property
    def memory_per_weight(self) -> float: ...  # noqa: D102
    @property
    def base_memory(self) -> int: ...  # noqa: D102
    @property
    def disk_per_weight(self) -> float: ...  # noqa: D102


def check(needs: Needs, parameters: int | None = None) -> str | None:
    """Return why it cannot run here, or None where nothing speaks against it.

    Packages are looked for, not imported. Memory and disk (of the cache folder) are checked where
    the model's number of weights is given.
    """
    if missing := [package for package in needs.packages if not _installed(package)]:
        cure = f' (pip install "weightcut[{needs.extra}]")' if needs.extra else ""
        return f"the package {missing[0]!r} is not installed{cure}"
    if needs.gpu and not probe.gpus():
        return "it needs a GPU and this machine has none"
    if parameters is None:
        return None
    memory = needs.base_memory + needs.memory_per_weight * parameters
    if memory > (there := probe.memory_available()):
        return f"it needs about {_gb(memory)} of memory and {_gb(there)} are available"
    disk = needs.disk_per_weight * parameters
    if disk > (free := probe.disk_free(settings.home())):
        return f"it needs about {_gb(disk)} of disk and {_gb(free)} are free"
    return None


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is not there
        return False


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
