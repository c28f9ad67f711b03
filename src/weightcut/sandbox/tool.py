"""A language runtime other than this interpreter: what it may use, and how it is started."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": ".",
    "TMPDIR": ".",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
}
"""What confined processes see, instead of this process's environment."""
# Empty parent packages: it loads `inside` alone, not what weightcut needs.
_START = """
import sys, types
folder = sys.argv.pop(1)
for name in ("weightcut", "weightcut.sandbox"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from weightcut.sandbox.inside.{module} import main
main()
"""


class Tool(NamedTuple):
    """What a program needs in order to start, beside the system's shared libraries.

    `map_below`: see `inside.seccomp`; a program that loads its native code early names the first
    descriptor from which nothing is to be loaded. `own`: files of its own folder in /proc.
    `pretended`: system calls that are to do nothing, and succeed.
    """

    name: str
    readable: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    calls: tuple[str, ...] = ("execve",)
    map_below: int | None = None
    own: tuple[str, ...] = ()
    pretended: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}


def interpreter(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of `inside` in a fresh, bare interpreter."""
    # -s -P -S: nothing but the standard library; the emptied environment does the rest of -I's
    # work, and fixes the order of sets, which -I would make random.
    options = ["-s", "-P", "-S", "-B", "-X", "utf8", "-X", "no_debug_ranges"]
    start = _START.format(module=module)
    return [sys.executable, *options, "-c", start, str(FOLDER), *arguments]


def loader() -> list[str]:
    """Return the dynamic loader, which the kernel must be able to start beside any program."""
    names = ("ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")
    paths = [Path(folder, name) for folder in ("/lib64", "/lib") for name in names]
    return [str(path.resolve()) for path in paths if path.exists()]


def role(name: str, tool: Tool | None) -> dict[str, Any]:
    """Return the settings of a role, as JSON data; "tool" is the one that starts a tool."""
    if tool is None:
        # A program keeps its secret in its own memory: it loads no native code of its own.
        tool = Tool("", calls=(), map_below=0 if name == "program" else None)
    return {
        "calls": list(tool.calls),
        "readable": list(tool.readable),
        "executable": [*tool.executable, *(loader() if tool.executable else [])],
        "map_below": tool.map_below,
        "own": list(tool.own),
        "pretended": list(tool.pretended),
        "environment": dict(tool.environment),
    }
