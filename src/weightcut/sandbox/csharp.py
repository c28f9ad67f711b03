"""C# on Mono: the compiler and the program each run confined, in a process of their own."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from weightcut.errors import NotHere
from weightcut.files import write_whole
from weightcut.records import ExecutionResult, Record
from weightcut.sandbox.capabilities import Protections
from weightcut.sandbox.inside.watch import Limits
from weightcut.sandbox.tool import FOLDER, Tool
from weightcut.sandbox.worker import Worker

_LAUNCHER = FOLDER / "mono" / "Launcher.cs"
_SOURCE = "program.cs"
_OPTIONS = (
    "-langversion:latest",
    "-warn:0",
    "-codepage:utf8",
    "-d:DEBUG",
    "-d:TRACE",
    "-r:System.Numerics.dll",
)
_COMPILER_LIMITS = Limits(cpu=15, memory=768 << 20, idle=30)


class Mono(Record):
    """An installed Mono with its C# compiler."""

    runtime: str
    compiler: str


def find_mono() -> Mono | str:
    """Return the Mono on the search path; else why not."""
    runtime = shutil.which("mono")
    if runtime is None:
        return "Mono is not installed (Debian: mono-mcs, mono-runtime); C# is parsed, not run"
    path = Path(runtime).resolve()
    compiler = path.parents[1] / "lib" / "mono" / "4.5" / "mcs.exe"
    if not compiler.is_file():
        return f"Mono's C# compiler is not at {compiler} (Debian: mono-mcs); C# is parsed, not run"
    return Mono(runtime=str(path), compiler=str(compiler))


class CSharp:
    """Compiles and starts C# programs; the launcher is compiled when first needed."""

    overhead = 192 << 20

    def __init__(self, mono: Mono, _: Protections) -> None:
        self._mono = mono
        self._lock = threading.Lock()
        self._folder = Path(tempfile.mkdtemp(prefix="weightcut-mono-"))
        self._folder.chmod(0o755)
        self._launcher = self._folder / "launcher.exe"
        self.tool = Tool(
            "mono",
            readable=("/etc/mono", str(self._folder)),
            executable=(mono.runtime,),
            own=("maps",),  # it looks there for the bounds of its stack
            pretended=("sched_setscheduler",),
            environment={"MONO_DISABLE_SHARED_AREA": "1"},
        )

    def compile(self, worker: Worker, program: bytes) -> bytes | ExecutionResult:
        """Return the program's assembly; what the compiler says if it does not compile."""
        with self._lock:
            if not self._launcher.exists():
                built = self._build(worker, _LAUNCHER.read_bytes())
                if isinstance(built, ExecutionResult):
                    raise NotHere(f"the launcher of C# cannot be compiled: {built.output}")
                write_whole(self._launcher, built)
        return self._build(worker, program)

    def command(self, memory: int) -> list[str]:
        """Return the command that runs a program with a heap of `memory` bytes."""
        return [self._mono.runtime, f"--gc-params=max-heap-size={memory}", str(self._launcher)]

    def close(self) -> None:
        """Remove the launcher."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _build(self, worker: Worker, source: bytes) -> bytes | ExecutionResult:
        command = [self._mono.runtime, self._mono.compiler, *_OPTIONS, "-out:program.exe", _SOURCE]
        return worker.build(command, (_SOURCE, source), "program.exe", _COMPILER_LIMITS)
