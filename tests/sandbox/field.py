"""Where attacks are tried: once in a plain interpreter, once in the sandbox, under one user.

`python -m tests.sandbox.field fork-server` tries them all and prints what came of each as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.sandbox import attacks
from weightcut.sandbox import Kind, Sandbox

CPU_SECONDS, MEMORY = 1.0, 160 << 20
SECRET = "the secret of the field"


class Field:
    """A secret file, a folder, a victim, listening sockets, and a descriptor left open."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self.secret = self.outside / "secret.txt"
        self.cwd = folder / "cwd"
        self.cwd.mkdir()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(type=socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix_path = str(folder / "socket")
        self.unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unix.bind(self.unix_path)
        self.abstract = f"\0weightcut-attack-{os.getpid()}"
        self.abstract_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.abstract_socket.bind(self.abstract)
        self.victim: subprocess.Popen[bytes] | None = None
        self.leak = (folder / "leak").open("w+")
        self.leak.write(SECRET)
        self.leak.flush()
        os.set_inheritable(self.leak.fileno(), True)
        os.environ["ATTACK_SECRET"] = SECRET
        self.restore()

    def restore(self) -> None:
        """Put everything back as it was before an attack."""
        subprocess.run(["rm", "-rf", str(self.outside), str(self.cwd)], check=True)
        self.cwd.mkdir()
        self.outside.mkdir()
        self.secret.write_text(SECRET)
        self.secret.chmod(0o644)
        (self.outside / "planted.py").write_text("")
        if self.victim is None or self.victim.poll() is not None:
            self.victim = subprocess.Popen(["sleep", "600"], start_new_session=True)
        for listener in (self.udp, self.unix, self.abstract_socket):
            listener.setblocking(False)
            while True:
                try:
                    listener.recv(100)
                except BlockingIOError:
                    break

    def harm(self) -> list[str]:
        """Return what is no longer as it was."""
        assert self.victim is not None
        found = []
        if self.victim.poll() is not None:
            found.append("the victim is dead")
        if {path.name for path in self.outside.iterdir()} - {"__pycache__"} != {
            "secret.txt",
            "planted.py",
        }:
            found.append("the folder has changed")
        elif self.secret.read_text() != SECRET or self.secret.stat().st_mode & 0o777 != 0o644:
            found.append("the file has changed")
        elif self.secret.stat().st_mtime == 0 or os.listxattr(self.secret):
            found.append("the file's times or attributes have changed")
        for name in ("udp", "unix", "abstract_socket"):
            try:
                getattr(self, name).recv(100)
                found.append(f"{name} received something")
            except BlockingIOError:
                pass
        return found

    def prelude(self) -> str:
        """Return the assignments that an escape finds in front of it."""
        assert self.victim is not None
        names = {
            "TCP_PORT": self.tcp.getsockname()[1],
            "UDP_PORT": self.udp.getsockname()[1],
            "UNIX_PATH": self.unix_path,
            "ABSTRACT": self.abstract,
            "SECRET_FILE": str(self.secret),
            "OUTSIDE": str(self.outside),
            "VICTIM": self.victim.pid,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in names.items())

    def naive(self, source: str) -> bool:
        """Run a program as a naive judge does; return whether it ends with exit code 0."""
        path = self.cwd / "program.py"
        path.write_text(source)
        command = [sys.executable, "-I", str(path)]
        done = subprocess.run(
            command, cwd=self.cwd, close_fds=False, capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def close(self) -> None:
        """End the victim, close everything."""
        if self.victim is not None:
            self.victim.kill()
            self.victim.wait()
        for item in (self.tcp, self.udp, self.unix, self.abstract_socket, self.leak):
            item.close()


@contextmanager
def open_field() -> Iterator[Field]:
    """Give a field in a temporary folder, and leave nothing of it."""
    with tempfile.TemporaryDirectory() as folder:
        field = Field(Path(folder))
        try:
            yield field
        finally:
            field.close()
            os.environ.pop("ATTACK_SECRET", None)


Outcome = dict[str, object]


def attempt(field: Field, sandbox: Sandbox, kind: str, name: str) -> Outcome:
    """Try one attack without and with the sandbox."""
    table: dict[str, str] = getattr(attacks, kind)
    source = attacks.program(table, name)
    field.restore()
    if kind == "ESCAPES":
        source = field.prelude() + source
    test = f"\n{attacks.TEST}" if kind in _SOLUTIONS else ""
    naive = field.naive(source + test)
    field.restore()
    if kind == "ESCAPES":
        source = field.prelude() + attacks.program(table, name)
    if kind in _SOLUTIONS:
        result = sandbox.run_tests(source, attacks.TEST, timeout=CPU_SECONDS, memory=MEMORY)
    else:
        result = sandbox.run_program(source, timeout=CPU_SECONDS, memory=MEMORY)
    harm = field.harm()
    if sandbox.run_tests("def square(x): return x * x", attacks.TEST).status != "passed":
        harm.append("an honest solution no longer passes")
    return {
        "naive": naive,
        "status": result.status,
        "output": result.output[-2000:],
        "harm": harm,
    }


SANDBOXES: tuple[Kind, ...] = ("fork-server", "bubblewrap")
KINDS = ("ESCAPES", "FORGED_PROGRAMS", "FORGED_SOLUTIONS", "SYSTEM_CALLS")
_SOLUTIONS = ("FORGED_SOLUTIONS", "SYSTEM_CALLS")


def attempt_all(sandbox_kind: Kind) -> dict[str, Outcome]:
    """Try every attack under this user; keys are `KIND/name`."""
    with open_field() as field, Sandbox(workers=1, kind=sandbox_kind) as sandbox:
        return {
            f"{kind}/{name}": attempt(field, sandbox, kind, name)
            for kind in KINDS
            for name in getattr(attacks, kind)
            if os.geteuid() == 0 or name not in attacks.ROOT_ONLY
        }


if __name__ == "__main__":
    [chosen] = [kind for kind in SANDBOXES if kind == sys.argv[1]]
    json.dump(attempt_all(chosen), sys.stdout)
