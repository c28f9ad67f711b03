"""Confine this process, then become another program: for a compiler that serves many runs."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from weightcut.sandbox.inside import confine, kernel
from weightcut.sandbox.inside.zygote import standard_library


def main() -> None:
    """Become the command of the settings, which are the last argument; standard streams stay."""
    settings = json.loads(sys.argv[-1])
    kernel.no_new_privileges()
    confinement = confine.prepare(
        Path(settings["scratch"]),
        settings["user"],
        standard_library(),
        files=settings["files"],
        calls=settings["filter"],
        extra=settings["calls"],
        readable=settings["readable"],
        executable=settings["executable"],
    )
    confine.enter(confinement, None, 3)
    resource.setrlimit(resource.RLIMIT_DATA, (settings["memory"], settings["memory"]))
    os.execve(settings["command"][0], settings["command"], dict(os.environ))  # noqa: S606
