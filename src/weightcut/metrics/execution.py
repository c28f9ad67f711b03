"""Functional correctness: does a solution pass its test?"""

from __future__ import annotations

from weightcut.records import ExecutionResult
from weightcut.sandbox import missing, shared


def run_tests(
    solution: str, test: str, *, timeout: float = 5, memory: int = 512 << 20
) -> ExecutionResult:
    """Run `test` against `solution` in the sandbox; thread-safe.

    Names that the test does not define are the solution's: `check(candidate)` or plain assertions
    both work. A built-in name is always Python's own, so that a solution cannot give the test
    another `abs`; for a function that is called `sum`, end the solution with `candidate = sum` and
    begin the test with `sum = candidate`.

    `timeout` is CPU seconds, not wall time; `memory` is bytes of address space. What the sandbox
    stops, and what not: `weightcut.sandbox`.
    """
    return shared().run_tests(solution, test, timeout=timeout, memory=memory)


def run_java(program: str, *, timeout: float = 5, memory: int = 512 << 20) -> ExecutionResult:
    """Compile and run one Java source file in the sandbox; thread-safe.

    The test is part of the program and stands after the solution: the last type in the file that
    has a `public static void main(String[])` is run, with assertions on. *passed* means that main
    returned, and that no thread ended by an exception; threads that are no daemons are waited for.
    Solution and test share one virtual machine: a solution that returns an object which claims to
    equal everything is believed. It cannot hide `Math` or `Arrays` by a type of its own.

    `timeout` is CPU seconds, `memory` bytes of heap. NotHere where `java_missing` gives a reason.
    """
    return shared().run_program(program, language="java", timeout=timeout, memory=memory)


def java_missing() -> str | None:
    """Return why Java programs cannot be run here, None if they can."""
    return missing("java")


def run_csharp(program: str, *, timeout: float = 5, memory: int = 512 << 20) -> ExecutionResult:
    """Compile and run one C# source file in the sandbox; thread-safe.

    *passed* means that Main returned, and returned 0 if it returns a number.
    `timeout` is CPU seconds, `memory` bytes. NotHere where `csharp_missing` gives a reason.
    """
    return shared().run_program(program, language="csharp", timeout=timeout, memory=memory)


def csharp_missing() -> str | None:
    """Return why C# programs cannot be run here, None if they can."""
    return missing("csharp")
