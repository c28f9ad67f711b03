"""Every attack succeeds in a plain interpreter, and none in the sandbox, whoever runs it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox import attacks, field
from weightcut.sandbox import Kind, Sandbox, bubblewrap

REPOSITORY = Path(__file__).parents[2]
NOBODY = "65534"
NAMES = [f"{kind}/{name}" for kind in field.KINDS for name in getattr(attacks, kind)]


@functools.cache
def as_this_user(kind: Kind) -> dict[str, field.Outcome]:
    return field.attempt_all(kind)


@functools.cache
def as_an_ordinary_user(kind: Kind) -> dict[str, field.Outcome] | str:
    """Try the attacks as a user without rights; a string says why that cannot be done here."""
    if os.geteuid() != 0:
        return "this user is an ordinary one: the other test does it"
    if shutil.which("setpriv") is None:
        return "setpriv is not installed"
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    paths = [REPOSITORY, REPOSITORY / "src", *(p for p in map(Path, sys.path) if p.is_dir())]
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(
            str(p) for p in paths if p.name == "site-packages" or p in paths[:2]
        ),
    }
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [*drop, interpreter, "-B", "-m", "tests.sandbox.field", kind]
        try:
            done = subprocess.run(
                command, cwd=REPOSITORY, env=environment, capture_output=True, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            outcomes: dict[str, field.Outcome] = json.loads(done.stdout)
            return outcomes
        if b"Permission denied" not in done.stderr and b"No such file" not in done.stderr:
            raise AssertionError(done.stderr.decode())
    return f"no {version} that user {NOBODY} may start"


def test_there_are_enough_attacks() -> None:
    assert len(NAMES) >= 150


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", field.SANDBOXES)
def test_attack_is_stopped(kind: Kind, name: str) -> None:
    if os.geteuid() != 0 and name.partition("/")[2] in attacks.ROOT_ONLY:
        pytest.skip("an ordinary user cannot do it anyway")
    if kind == "bubblewrap" and (reason := bubblewrap.absent()):
        pytest.skip(reason)
    check(name, as_this_user(kind)[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", field.SANDBOXES)
def test_attack_is_stopped_for_an_ordinary_user(kind: Kind, name: str) -> None:
    if kind == "bubblewrap" and (reason := bubblewrap.absent()):
        pytest.skip(reason)
    outcomes = as_an_ordinary_user(kind)
    if isinstance(outcomes, str):
        pytest.skip(outcomes)
    if name.partition("/")[2] in attacks.ROOT_ONLY:
        pytest.skip("an ordinary user cannot do it anyway")
    check(name, outcomes[name])


@pytest.mark.parametrize("kind", field.SANDBOXES)
def test_a_solution_runs_native_code_so_that_its_calls_are_what_fails(kind: Kind) -> None:
    if kind == "bubblewrap" and (reason := bubblewrap.absent()):
        pytest.skip(reason)
    with Sandbox(workers=1, kind=kind) as sandbox:
        result = sandbox.run_tests(attacks.native(attacks.NATIVE_CONTROL), attacks.TEST)
    assert result.status == "passed", result.output


def check(name: str, outcome: field.Outcome) -> None:
    if name.startswith("SYSTEM_CALLS") and not outcome["naive"]:
        pytest.skip("this kernel, this user or this architecture has no such call")
    assert outcome["naive"], "the attack does not work even without the sandbox"
    assert outcome["status"] != "passed"
    assert outcome["harm"] == []
