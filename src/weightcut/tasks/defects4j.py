"""Defects4J: real bugs of Java projects, mended in place and judged by the projects' own tests."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.files import whole_folder
from weightcut.metrics.code.languages import parse
from weightcut.metrics.code.ngrams import lexemes
from weightcut.metrics.codebleu import codebleu
from weightcut.metrics.degenerate import repetition
from weightcut.metrics.parses import parses
from weightcut.metrics.snippets import whole
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.settings import home, weak_sandbox_allowed
from weightcut.tasks.extract_braces import extract_braces, members

COMMAND = "defects4j"
ORIGIN = "install Defects4J (rjust/defects4j) and put its framework/bin on the PATH"
INSTRUCTION = (
    "This method of the Java class {name} has a bug: {tests} fail. Fix it. "
    "Answer with the whole corrected method in one Java code block.\n\n```java\n{buggy}\n```"
)
PLAIN = "{buggy}\n\n// The method above has a bug: {tests} fail. The corrected method:\n"
_BUG = re.compile(r"[A-Za-z][A-Za-z0-9]*-\d+")
_METHODS = ("method_declaration", "constructor_declaration")
CHECKOUT_TIMEOUT = 900.0  # wall seconds; a first checkout may unpack a repository
LONGEST = 50_000  # characters of an answer that are looked at


class Place(NamedTuple):
    """Where a bug's method stands: bytes [start, end) of a file, and the method when mended."""

    path: str
    start: int
    end: int
    buggy: str
    fixed: str


class Defects4J(Record):
    """Bugs of Defects4J that lie in one method, through the command line of an installed Defects4J.

    The prompt shows the method with the bug and names the tests that fail (the triggering tests).
    The answer takes the method's place in a fresh copy of the checkout, which is compiled and
    tested with the tests that Defects4J holds relevant. Scores:

    - plausible: it compiles, and the triggering tests pass;
    - correct: every relevant test passes; the same as `passed`;
    - regression: a relevant test that passed with the bug fails, or it does not compile;
    - exact_match (of code tokens), CodeBLEU, parses.

    Compiling and testing run the answer's code outside weightcut's own sandbox, so they are put
    into bubblewrap's (no network, the file system read-only but for the copy); where it is not
    installed the task is skipped unless WEIGHTCUT_SANDBOX_ALLOW_WEAK=1. Bugs that lie in more than
    one method are left out, and named. Source: doi:10.1145/2610384.2628055.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = (
        *("passed", "correct", "plausible", "regression"),
        *("exact_match", "codebleu", "parses"),
    )
    chat_stop: ClassVar[tuple[str, ...]] = ("\n```",)
    plain_stop: ClassVar[tuple[str, ...]] = ("\n//", "\n```", "\n\n\n")

    kind: Literal["defects4j"] = "defects4j"
    bugs: tuple[str, ...] = Field(
        ("Lang-1", "Lang-6", "Lang-11", "Math-2", "Math-5", "Chart-1", "Chart-8"),
        min_length=1,
        description="PROJECT-NUMBER of the bugs that are asked",
    )
    limit: int | None = Field(None, ge=1, description="only the first bugs; all without it")
    samples: int = Field(1, ge=1, description="answers to each bug")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(768, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(600.0, gt=0, description="wall seconds for compiling, and for testing")

    @field_validator("bugs")
    @classmethod
    def _are_bugs(cls, bugs: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [bug for bug in bugs if not _BUG.fullmatch(bug)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no bug: write PROJECT-NUMBER, such as Lang-1")
        return tuple(dict.fromkeys(bugs))

    def missing(self) -> str | None:
        """Return why Defects4J cannot be used here, None if it can."""
        if shutil.which(COMMAND) is None:
            return f"there is no command `{COMMAND}`: {ORIGIN}"
        if shutil.which("bwrap") is None and not weak_sandbox_allowed():
            return (
                "its tests run the answers' code, and bubblewrap, which would confine them, is not "
                "installed (or set WEIGHTCUT_SANDBOX_ALLOW_WEAK=1)"
            )
        return None

    def notes(self) -> Sequence[str]:
        """Return which bugs are left out."""
        return [
            f"defects4j: left out: {bug} does not lie in one method"
            for bug, place in self._places.items()
            if place is None
        ]

    def items(self) -> Sequence[Sample]:
        """Return the bugs that lie in one method, in the order of the setting."""
        return [self._sample(bug, place) for bug, place in self._places.items() if place]

    @cached_property
    def _places(self) -> dict[str, Place | None]:
        reason = self.missing()
        if reason:
            raise NotHere(reason, place="task defects4j")
        return {bug: locate(bug) for bug in self.bugs[: self.limit]}

    def _sample(self, bug: str, place: Place) -> Sample:
        triggers = exported(checkout(bug, "b"), "tests.trigger")
        words = {
            "name": Path(place.path).stem,
            "tests": ", ".join(triggers),
            "buggy": place.buggy,
        }
        return Sample(
            id=bug,
            messages=({"role": "user", "content": INSTRUCTION.format(**words)},),
            prefill="```java\n",
            plain_prompt=PLAIN.format(**words),
            reference=place.fixed,
            meta={"triggers": triggers, "place": place._asdict()},
        )

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        start = sample.prefill if chat else ""
        code = members(extract_braces(start + completion.text[:LONGEST], "java"), "java")
        failing, output = self._failing(sample, code)
        triggers = set(sample.meta["triggers"])
        built = failing is not None
        passed = built and not failing
        loops = repetition(completion.token_ids)
        cut = completion.finish_reason == "length"
        verdicts = {
            "passed": passed,
            "correct": passed,
            "plausible": built and not triggers & (failing or set()),
            "regression": not built or bool((failing or set()) - triggers),
            "exact_match": lexemes(code) == lexemes(sample.reference),
            "parses": bool(code) and parses(whole(code, "java"), "java"),
            "repetition": loops,
            "token_limit": cut,
            "degenerate": loops or cut,
        }
        similarity = codebleu(sample.reference, code, "java").codebleu
        return Scores(
            values={name: float(v) for name, v in verdicts.items()} | {"codebleu": similarity},
            detail={"code": code, "failing": sorted(failing or ()), "output": output[-2000:]},
        )

    def _failing(self, sample: Sample, code: str) -> tuple[set[str] | None, str]:
        """Return the tests that fail with an answer in place, None where it does not compile."""
        place = Place(**sample.meta["place"])
        with tempfile.TemporaryDirectory(prefix="weightcut-d4j-") as scratch:
            work = Path(scratch) / "work"
            shutil.copytree(checkout(sample.id, "b"), work, symlinks=True)
            file = work / place.path
            source = file.read_bytes()
            mended = code.encode("utf-8", "replace")
            file.write_bytes(source[: place.start] + mended + source[place.end :])
            built = _run(["compile", "-w", str(work)], self.timeout, confined=work)
            if built.returncode != 0:
                return None, built.stdout
            (work / "failing_tests").unlink(missing_ok=True)
            tested = _run(["test", "-r", "-w", str(work)], self.timeout, confined=work)
            if tested.returncode != 0 or "Failing tests:" not in tested.stdout:
                return set(sample.meta["triggers"]) | {"the test run"}, tested.stdout
            return _failed(work, tested.stdout), tested.stdout


def _failed(work: Path, said: str) -> set[str]:
    """Return the failing tests, as the command prints them and its file `failing_tests` names them.

    A program that empties the file cannot hide what the command has counted.
    """
    names = set(re.findall(r"(?m)^\s*- (\S+)", said))
    with contextlib.suppress(OSError):
        text = (work / "failing_tests").read_text(errors="replace")
        names |= set(re.findall(r"(?m)^--- (\S+)", text))
    counted = re.search(r"Failing tests:\s*(\d+)", said)
    if counted and int(counted[1]) > 0 and not names:
        names.add("a test without a name")
    return names


def checkout(bug: str, version: Literal["b", "f"]) -> Path:
    """Return the checkout of a bug's buggy or fixed version, made once and kept."""
    folder = home() / "defects4j" / f"{bug}{version}"
    if not folder.is_dir():
        project, _, number = bug.partition("-")
        with whole_folder(folder) as draft:
            _ask(["checkout", "-p", project, "-v", f"{number}{version}", "-w", str(draft)])
    return folder


def exported(work: Path, name: str) -> list[str]:
    """Return a property of a checkout, one value a line."""
    return [line.strip() for line in _ask(["export", "-p", name, "-w", str(work)]).splitlines()]


def locate(bug: str) -> Place | None:
    """Return the one method in which a bug lies, None where it lies in more, or outside methods."""
    buggy, fixed = checkout(bug, "b"), checkout(bug, "f")
    classes = exported(buggy, "classes.modified")
    (folder, *_) = exported(buggy, "dir.src.classes") or [""]
    if len(classes) != 1:
        return None
    path = f"{folder}/{classes[0].partition('$')[0].replace('.', '/')}.java"
    try:
        before, after = ((root / path).read_bytes() for root in (buggy, fixed))
    except OSError as error:
        raise BrokenInput(f"the checkout lacks a file: {error}", place=f"defects4j {bug}") from None
    for start, end in _methods(before):
        rest = len(before) - end
        same = before[:start] == after[:start] and before[end:] == after[len(after) - rest :]
        mended = after[start : len(after) - rest]
        if same and (0, len(mended)) in _methods(mended):
            return Place(path, start, end, *(t.decode("utf-8", "replace")
                                             for t in (before[start:end], mended)))  # fmt: skip
    return None


def _methods(source: bytes) -> list[tuple[int, int]]:
    """Return start and end of every method of a Java text, inner ones first.

    A method on its own is read as the body of a class.
    """
    wrapper = b"class W {\n"
    found = []
    for text, moved in ((source, 0), (wrapper + source + b"\n}", len(wrapper))):
        stack = [parse(text, "java")]
        while stack:
            node = stack.pop()
            stack += node.children
            if node.type in _METHODS:
                found.append((node.start_byte - moved, node.end_byte - moved))
        if found:
            break
    return sorted(found, key=lambda span: span[1] - span[0])


def _ask(arguments: Sequence[str]) -> str:
    done = _run(arguments, CHECKOUT_TIMEOUT)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UsageError(
            f"`{COMMAND} {arguments[0]}` failed: {said[-1] if said else 'it says nothing'}",
            place=" ".join(arguments),
            cure=f"check the installation: {ORIGIN}",
        )
    return done.stdout


def _run(
    arguments: Sequence[str], timeout: float, confined: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command; confined: the one folder that it may write to, without a network."""
    command = [COMMAND, *arguments]
    if confined is not None and shutil.which("bwrap"):
        temporary = tempfile.gettempdir()  # tests need one; of the real one nothing is seen
        root = str(Path(shutil.which(COMMAND) or "").resolve().parents[2])
        # fmt: off
        command = [
            "bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
            "--tmpfs", temporary, "--ro-bind", root, root,
            "--bind", str(confined), str(confined), "--chdir", str(confined),
            "--unshare-all", "--die-with-parent", "--new-session", "--", *command,
        ]
        # fmt: on
    with subprocess.Popen(  # noqa: S603 - a list of arguments, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return subprocess.CompletedProcess(command, 124, out, err + "\ntimed out")
    return subprocess.CompletedProcess(command, process.returncode, out, err)
