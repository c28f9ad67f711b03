"""Whether something can run here, and in one sentence why not."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Protocol

from weightcut import settings
from weightcut.hardware import probe

NEEDS_GPU = "it needs a GPU"


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
    if needs.gpu and not probe.gpus():
        return f"{NEEDS_GPU} and this machine has none"
    if missing := missing_package(needs.packages, needs.extra):
        return missing
    if parameters is None:
        return None
    memory = needs.base_memory + needs.memory_per_weight * parameters
    if memory > (there := probe.memory_available()):
        return f"it needs about {gigabytes(memory)} of memory and {gigabytes(there)} are available"
    disk = needs.disk_per_weight * parameters
    if disk > (free := probe.disk_free(settings.home())):
        return f"it needs about {gigabytes(disk)} of disk and {gigabytes(free)} are free"
    return None


def missing_package(packages: Iterable[str], extra: str) -> str | None:
    """Return which package is not installed, with the command that brings it; None if all are."""
    for package in packages:
        if not _installed(package):
            cure = f" ({pip_install(extra)})" if extra else ""
            return f"the package {package!r} is not installed{cure}"
    return None


def pip_install(extra: str) -> str:
    """Return the command that installs an extra of weightcut."""
    return f'pip install "weightcut[{extra}]"'


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is not there
        return False


def gigabytes(size: float) -> str:
    """Return bytes as `1.2 GB`."""
    return f"{size / 1e9:.1f} GB"
