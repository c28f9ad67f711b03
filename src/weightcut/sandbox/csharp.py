"""C# on Mono: the compiler and the program each run confined, in a process of their own."""

from __future__ import annotations

import re
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

# What the compiler takes for nothing between two tokens (seen on mcs 6.12: NUL is white space, and
# four characters end a line). A directive of the preprocessor may stand there too.
_GAP = r"(?:[^\w@/\\=;#]++|/\*(?:[^*]++|\*(?!/))*+\*/|//[^\n\r\u2028\u2029]*+)*+"
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})")
RESERVED = (
    "Array", "Console", "Convert", "Debug", "Enumerable", "Environment", "Exception", "Math",
    "Object", "String", "Trace",
)  # fmt: skip
"""Names that a test relies on; the launcher refuses types of the program's own with these names."""
_DIRECTIVE = r"(?:if|el|end|region|line|pragma|define|warning|error|nullable)"
_ALIAS = re.compile(
    rf"\busing{_GAP}(?:@?(?P<name>{'|'.join(RESERVED)})\b{_GAP}(?:=(?!=)|#)|#\s*{_DIRECTIVE})"
)
_UNDEF = re.compile(r"#\s*undef\s")
_MOST_USINGS = 300


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
        if broken := _hidden_from_the_launcher(program):
            return ExecutionResult(status="blocked", output=f"a program may not use {broken}")
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


def _hidden_from_the_launcher(program: bytes) -> str | None:
    """Return what the source has and no table of an assembly shows: tests that were made void.

    An alias gives a test's `Debug` or `Math` another meaning, and without the symbol DEBUG calls
    of `Debug.Assert` are left out of the assembly.
    """
    text = _ESCAPE.sub(_unescaped, program.decode("utf-8", errors="replace"))
    if text.count("using") > _MOST_USINGS:
        return f"`using` more than {_MOST_USINGS} times"
    if _UNDEF.search(text):
        return "#undef"
    if found := _ALIAS.search(text):
        name = found["name"]
        return f"an alias named {name}" if name else "directives of the preprocessor after `using`"
    return None


def _unescaped(found: re.Match[str]) -> str:
    """Return the character of an escape where it can be part of a name."""
    number = int(found[1] or found[2], 16)
    one = chr(number) if number < 0x110000 else ""
    return one if one.isalnum() or one == "_" else found[0]
