"""The second implementation: the fork server in namespaces of its own, made anew for each run.

bubblewrap gives it a file system of which only the named paths exist, no network, and process,
user and message numbers of its own (https://github.com/containers/bubblewrap). The walls of the
fork server stand inside of that, Landlock where the kernel has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from weightcut.sandbox.inside.confine import DEVICES, SYSTEM

_PATIENCE = 60
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
# As root: what the fork server needs to give its children another user, and to end them.
_RIGHTS = ("CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_DAC_OVERRIDE")


def wrap(command: list[str], writable: Path, readable: Iterable[str]) -> list[str]:
    """Return the command that runs another where these paths, and the interpreter's, exist."""
    interpreter = Path(command[0]).resolve()
    shared = sorted(Path(sys.base_prefix, "lib").glob("libpython*.so*"))
    library = Path(os.__file__).resolve().parent
    folder = Path(__file__).parent
    rights = [part for right in _RIGHTS for part in ("--cap-add", right)]
    user = ["--cap-drop", "ALL", *rights] if os.geteuid() == 0 else ["--unshare-user"]
    paths: list[str] = [
        *SYSTEM,
        str(interpreter),
        str(library),
        str(folder),
        *map(str, shared),
        *readable,
    ]
    parents = {str(p) for path in (*paths, str(writable), *DEVICES) for p in Path(path).parents}
    # Made on the way, they would be for root alone.
    folders = [part for path in sorted(parents - {"/"}) for part in ("--dir", path)]
    seen = [part for path in dict.fromkeys(paths) for part in ("--ro-bind-try", path, path)]
    devices = [part for path in DEVICES for part in ("--dev-bind", path, path)]
    place = ["--bind", str(writable), str(writable), "--proc", "/proc", "--chdir", "/"]
    bwrap = _program() or "bwrap"
    outer = [bwrap, *_NAMESPACES, "--unshare-cgroup-try", *user, *folders, *seen, *devices, *place]
    return [*outer, "--", str(interpreter), *command[1:]]


@cache
def absent() -> str:
    """Return why bubblewrap cannot be used here, an empty text if it can."""
    if _program() is None:
        return "bubblewrap is not installed (Debian: bubblewrap)"
    command = wrap([sys.executable, "-I", "-S", "-c", "pass"], Path("/dev/null"), ())
    try:
        tried = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"bubblewrap does not work here: nothing came of it in {_PATIENCE} s"
    if tried.returncode == 0:
        return ""
    words = tried.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    return f"bubblewrap does not work here: {words[-1]}"


def _program() -> str | None:
    return shutil.which("bwrap")
