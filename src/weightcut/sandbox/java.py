"""Java: one warm compiler for all runs, a fresh virtual machine for each."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import threading
from pathlib import Path

from weightcut.errors import NotHere
from weightcut.files import write_whole
from weightcut.records import ExecutionResult, Record
from weightcut.sandbox.capabilities import Protections
from weightcut.sandbox.compile_server import CompileServer
from weightcut.sandbox.tool import FOLDER, Tool
from weightcut.sandbox.worker import Worker

MIN_VERSION = 17
_MAP_BELOW = 32
"""The number of descriptors that Launcher.java takes."""
_MODULES = "java.base,java.logging,java.sql,java.xml"
_SOURCES = FOLDER / "java"
_SERVER = _SOURCES / "CompileServer.java"
_MACHINE = (
    "-Xshare:auto",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+DisableAttachMechanism",
    "-XX:-UseContainerSupport",
    "-XX:-CreateCoredumpOnCrash",
    "-XX:+DisplayVMOutputToStdout",
    "-Dfile.encoding=UTF-8",
    "-Djava.io.tmpdir=.",
    "-Duser.timezone=UTC",
    "-Djava.awt.headless=true",
)
_COMPILER = ("-proc:none", "-implicit:none", "-nowarn", "-Xlint:none", "-g")


class Java(Record):
    """An installed Java development kit."""

    home: str
    version: int

    @property
    def program(self) -> str:
        """The command `java`."""
        return f"{self.home}/bin/java"

    def readable(self) -> list[str]:
        """Return the folders that it reads: distributions keep settings elsewhere, by links."""
        home = Path(self.home)
        links = [p for part in ("conf", "lib") for p in (home / part).rglob("*") if p.is_symlink()]
        return sorted({str(path.resolve()) for path in (home, home / "conf", *links)})


def find_java() -> Java | str:
    """Return the Java development kit of `JAVA_HOME` or of the search path; else why not."""
    asked = os.environ.get("JAVA_HOME")
    compiler = str(Path(asked, "bin", "javac")) if asked else shutil.which("javac")
    if compiler is None or not Path(compiler).is_file():
        where = f"JAVA_HOME ({asked})" if asked else "the search path"
        return f"no Java compiler in {where}; a JDK {MIN_VERSION} or newer brings it"
    home = Path(compiler).resolve().parents[1]
    try:
        said = (home / "release").read_text(errors="replace")
    except OSError:
        said = ""
    for line in said.splitlines():
        key, _, value = line.partition("=")
        number = value.strip('"').partition(".")[0]
        if key == "JAVA_VERSION" and number.isdigit():
            if int(number) < MIN_VERSION:
                return f"Java {number} in {home} is too old; {MIN_VERSION} or newer is needed"
            return Java(home=str(home), version=int(number))
    return f"{home} has no file `release` that names its version"


class JavaRuntime:
    """Compiles Java programs in one server, which is started when first needed, and starts them.

    Safe to use from several threads: they wait for each other's compilations.
    """

    overhead = 256 << 20

    def __init__(self, java: Java, protections: Protections) -> None:
        self._java = java
        self._folder = Path(tempfile.mkdtemp(prefix="weightcut-java-"))
        self._folder.chmod(0o755)
        self._classes = self._folder / "launcher"
        self._classes.mkdir(0o755)
        self._lock = threading.Lock()
        tool = Tool(
            "java",
            readable=(*java.readable(), str(_SERVER)),
            executable=(java.program,),
            calls=("execve", "socketpair"),  # its file channels make a pair for themselves
        )
        command = [java.program, *_MACHINE, str(_SERVER), *_COMPILER]
        self._server = CompileServer(command, tool, self._folder / "scratch", protections)
        readable = (*java.readable(), str(self._classes))
        self.tool = tool._replace(readable=readable, map_below=_MAP_BELOW)

    def compile(self, _: Worker, program: bytes) -> bytes | ExecutionResult:
        """Return the program for the launcher; what the compiler says if it does not compile."""
        with self._lock:
            if not any(self._classes.iterdir()):
                self._compile_launcher()
            answer = self._server.compile({"Main.java": program})
        if isinstance(answer, bytes) and answer.startswith(b"\0\0"):
            words = "error: no type has a public static void main(String[])"
            return ExecutionResult(status="failed", output=words)
        return answer

    def command(self, memory: int) -> list[str]:
        """Return the command that runs a program with a heap of `memory` bytes."""
        denied = ["--illegal-native-access=deny"] if self._java.version >= 24 else []
        return [
            self._java.program,
            *_MACHINE,
            "-XX:TieredStopAtLevel=1",
            "-XX:ErrorFile=/dev/null",
            f"-Xmx{memory}",
            "-Xss1m",
            "-XX:MaxMetaspaceSize=64m",
            "-XX:ReservedCodeCacheSize=32m",
            f"-XX:MaxDirectMemorySize={memory}",
            *denied,
            f"--limit-modules={_MODULES},weightcut.launcher",
            f"--add-modules={_MODULES}",
            f"--module-path={self._classes}",
            "--module=weightcut.launcher/weightcut.launcher.Launcher",
        ]

    def close(self) -> None:
        """End the server and remove the folders."""
        with self._lock:
            self._server.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compile_launcher(self) -> None:
        sources = sorted((_SOURCES / "launcher").glob("*.java"))
        answer = self._server.compile({path.name: path.read_bytes() for path in sources})
        if isinstance(answer, ExecutionResult):
            raise NotHere(f"Java's launcher cannot be compiled: {answer.output}")
        for name, code in _classes(answer):
            path = self._classes / (name.replace(".", "/") + ".class")
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_whole(path, code)


def _classes(program: bytes) -> list[tuple[str, bytes]]:
    """Take apart what the compile server gives back."""
    at = 0

    def take(form: str) -> int:
        nonlocal at
        [value] = struct.unpack_from(form, program, at)
        at += struct.calcsize(form)
        return int(value)

    def run(length: int) -> bytes:
        nonlocal at
        at += length
        return program[at - length : at]

    run(take(">H"))
    return [(run(take(">H")).decode(), run(take(">i"))) for _ in range(take(">i"))]
