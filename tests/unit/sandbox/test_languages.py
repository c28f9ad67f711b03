"""Java and C# in the sandbox: what passes, what fails, and why; bubblewrap as the other kind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from weightcut.cli.main import app
from weightcut.errors import NotHere, UsageError
from weightcut.metrics import execution
from weightcut.sandbox import Sandbox, bubblewrap, csharp, java, kind_named, missing
from weightcut.sandbox.inside import seccomp
from weightcut.sandbox.scratch import read_plain

needs_java = pytest.mark.skipif(missing("java") is not None, reason=missing("java") or "")
needs_mono = pytest.mark.skipif(missing("csharp") is not None, reason=missing("csharp") or "")
needs_bwrap = pytest.mark.skipif(bubblewrap.absent() != "", reason=bubblewrap.absent())


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as two:
        yield two


def in_main(statements: str) -> str:
    head = "public class A { public static void main(String[] a) throws Exception { "
    return head + statements + " } }"


JAVA = {
    "prints": (in_main('System.out.println("\\u00fc"); System.err.println("e");'), "passed"),
    "several types": (
        "package p; interface I { int f(); } record R(int f) implements I {}\n"
        "enum E { X { int g() { return 1; } }; abstract int g(); }\n"
        "class A { class Inner {} public static void main(String[] a) {\n"
        "Runnable r = () -> { assert new R(3).f() == 3 && E.X.g() == 1; }; r.run(); } }",
        "passed",
    ),
    "main in an interface": ("interface A { static void main(String[] a) {} }", "passed"),
    "threads that end": (
        in_main("new Thread(() -> System.out.println(1)).start();"),
        "passed",
    ),
    "parallel streams": (
        in_main(
            "assert java.util.stream.IntStream.range(0, 1000).parallel().sum() == 499500;"
            "java.util.concurrent.Executors.newFixedThreadPool(2).submit(() -> 1).get();"
            "System.exit(java.util.logging.Level.INFO.intValue() == 800 ? 0 : 1);"
        ),
        "failed",
    ),
    "executor shut down": (
        in_main(
            "var pool = java.util.concurrent.Executors.newFixedThreadPool(2);"
            "assert pool.submit(() -> 5).get() == 5; pool.shutdown();"
        ),
        "passed",
    ),
    "scratch folder": (
        in_main(
            'var p = java.nio.file.Files.writeString(java.nio.file.Path.of("x"), "y");'
            'assert java.nio.file.Files.readString(p).equals("y");'
        ),
        "passed",
    ),
    "empty standard input": (in_main("assert System.in.read() == -1;"), "passed"),
    "assertion": (in_main("assert 1 == 2;"), "failed"),
    "exception": (in_main("throw new IllegalStateException();"), "failed"),
    "syntax error": ("class A {", "failed"),
    "type error": (in_main("int x = null;"), "failed"),
    "no main": ("class A {}", "failed"),
    "main that is not static": ("class A { public void main(String[] a) {} }", "failed"),
    "nothing": ("", "failed"),
    "NUL": ("class A { \0 }", "failed"),
    "lone surrogate": ("class \ud800 {}", "failed"),
    "deep nesting": (in_main(f"int x = {'(' * 9000}1{')' * 9000};"), "passed"),
    "deeper nesting": (in_main(f"int x = {'(' * 400_000}1{')' * 400_000};"), "failed"),
    "endless loop": (in_main("while (true);"), "timed-out"),
    "too much memory": (in_main("byte[] x = new byte[900_000_000];"), "out-of-memory"),
    "network": (in_main('new java.net.Socket("127.0.0.1", 1);'), "blocked"),
    "annotation processor asked for": (
        '@javax.annotation.processing.SupportedAnnotationTypes("*")\n'
        "public class A extends javax.annotation.processing.AbstractProcessor {\n"
        "public boolean process(java.util.Set<? extends javax.lang.model.element.TypeElement> s,"
        "javax.annotation.processing.RoundEnvironment r) { return true; }\n"
        "public static void main(String[] a) {} }",
        "failed",  # it compiles, but no compiler is among the modules that programs run with
    ),
}


@needs_java
@pytest.mark.parametrize("name", JAVA)
def test_java(sandbox: Sandbox, name: str) -> None:
    program, status = JAVA[name]
    result = sandbox.run_program(program, language="java", timeout=2)
    assert result.status == status, result.output


@needs_java
def test_java_says_where(sandbox: Sandbox) -> None:
    program = 'class A {\n public static void main(String[] a) {\n  assert 1 == 2 : "why";\n }\n}'
    output = sandbox.run_program(program, language="java").output
    assert "AssertionError: why" in output
    assert "Main.java:3" in output
    assert "line 1: error:" in sandbox.run_program("clas A {}", language="java").output


@needs_java
def test_the_compiler_survives_what_ends_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    _compiler_survives(sandbox, monkeypatch)


@needs_java
@needs_bwrap
def test_the_compiler_in_bubblewrap_survives_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(workers=1, kind="bubblewrap") as wrapped:
        _compiler_survives(wrapped, monkeypatch)


def _compiler_survives(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.run_program(in_main(""), language="java").status == "passed"
    slow = (
        "class A { "
        + "".join(
            f"static java.util.List<String> f{n}() {{ return java.util.stream.Stream.of({n})"
            '.map(x -> x + 1).map(x -> "" + x).toList(); }\n'
            for n in range(4000)
        )
        + "public static void main(String[] a) {} }"
    )
    monkeypatch.setattr("weightcut.sandbox.compile_server._CPU_SECONDS", 0.2)
    assert sandbox.run_program(slow, language="java").status == "timed-out"
    monkeypatch.undo()
    assert sandbox.run_program(in_main(""), language="java").status == "passed"


@needs_java
def test_java_from_many_threads(sandbox: Sandbox) -> None:
    def one(n: int) -> bool:
        program = in_main(f'assert Integer.parseInt("{n}") == {n};')
        return sandbox.run_program(program, language="java").status == "passed"

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(one, range(6)))


CSHARP = {
    "prints": ('class A { static void Main() { System.Console.WriteLine("\\u00fc"); } }', "passed"),
    "returns zero": ("class A { static int Main(string[] a) { return 0; } }", "passed"),
    "returns one": ("class A { static int Main() { return 1; } }", "failed"),
    "exception": ('class A { static void Main() { throw new System.Exception("x"); } }', "failed"),
    "assertion": (
        "class A { static void Main() { System.Diagnostics.Debug.Assert(1 == 2); } }",
        "failed",
    ),
    "syntax error": ("class A {", "failed"),
    "nothing": ("", "failed"),
    "exit": ("class A { static void Main() { System.Environment.Exit(0); } }", "failed"),
    "exit in a thread": (
        "class A { static void Main() { new System.Threading.Thread(() => "
        "System.Environment.Exit(0)).Start(); System.Threading.Thread.Sleep(9000); } }",
        "timed-out",  # Mono waits for the thread that sleeps
    ),
    "endless loop": ("class A { static void Main() { while (true); } }", "timed-out"),
    "sleep": (
        "class A { static void Main() { System.Threading.Thread.Sleep(9000); } }",
        "timed-out",
    ),
    "memory": ("class A { static void Main() { var x = new byte[900000000]; } }", "out-of-memory"),
    "network": (
        "using System.Net.Sockets; class A { static void Main() { new Socket("
        "AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp); } }",
        "blocked",
    ),
    "file outside": (
        'class A { static void Main() { System.IO.File.ReadAllText("/etc/passwd"); } }',
        "blocked",
    ),
    "process": (
        "using System.Diagnostics; class A { static void Main() {"
        ' Process.Start("/bin/true").WaitForExit(); } }',
        "blocked",
    ),
    "environment": (
        "class A { static int Main() { return "
        'System.Environment.GetEnvironmentVariable("USER_SECRET") == null ? 0 : 1; } }',
        "passed",
    ),
    "fork": (
        'class A { [System.Runtime.InteropServices.DllImport("libc")] static extern int fork();'
        " static int Main() { return fork() < 0 ? 1 : 0; } }",
        "blocked",
    ),
}


@needs_mono
@pytest.mark.parametrize("name", CSHARP)
def test_csharp(sandbox: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER_SECRET", "x")
    program, status = CSHARP[name]
    result = sandbox.run_program(program, language="csharp", timeout=1)
    assert result.status == status, result.output


def test_a_missing_language_gives_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "no Java compiler" in str(execution.java_missing())
    assert "Mono is not installed" in str(execution.csharp_missing())
    with Sandbox(workers=1) as one, pytest.raises(NotHere, match="no Java compiler"):
        one.run_program("class A {}", language="java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert str(tmp_path) in str(execution.java_missing())


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "javac").touch()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "release" in str(java.find_java())
    for version, found in (("1.8.0_1", "too old"), ("17.0.1", "17"), ("25", "25")):
        (tmp_path / "release").write_text(f'X="y"\nJAVA_VERSION="{version}"\n')
        assert found in str(java.find_java())


def test_csharp_without_its_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mono").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mono-mcs" in str(csharp.find_mono())


@needs_bwrap
def test_bubblewrap_runs_programs_and_tests() -> None:
    with Sandbox(workers=2, kind="bubblewrap") as wrapped:
        result = wrapped.run_program("import os; print(os.getpid() < 10, os.listdir('.'))")
        assert (result.status, result.output) == ("passed", "True []\n")
        assert wrapped.run_tests("def f(): return 2", "assert f() == 2").status == "passed"
        assert wrapped.run_tests("def f(): return 2", "assert f() == 3").status == "failed"


def test_kinds_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_named("bubblewrap", "x") == "bubblewrap"
    monkeypatch.setenv("WEIGHTCUT_SANDBOX", "fork-servr")
    with pytest.raises(UsageError, match="did you mean 'fork-server'"):
        Sandbox(1)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_are_refused(sandbox: Sandbox, timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        sandbox.run_program("pass", timeout=timeout)


def test_only_plain_files_are_read_from_a_scratch_folder(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x")
    assert read_plain(tmp_path / "plain") == b"x"
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "none", "."):
        with pytest.raises(OSError):  # noqa: PT011 (whatever the kernel calls it)
            read_plain(tmp_path / name)


def test_check_shows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(app, ["sandbox", "check", "--json"])
    data = json.loads(done.stdout)
    assert [part["name"] for part in data["sandboxes"]] == ["fork-server", "bubblewrap"]
    assert [part["name"] for part in data["languages"]] == ["python", "java", "csharp"]
    assert done.exit_code == 0
    assert "landlock" in CliRunner().invoke(app, ["sandbox", "check"]).stdout


def test_filters_can_forbid_mapping_and_pretend() -> None:
    plain = seccomp.program("x86_64")
    strict = seccomp.program("x86_64", map_below=32, pretended=["sched_setscheduler"])
    assert len(strict) > len(plain)
    assert len(strict) % 8 == 0
