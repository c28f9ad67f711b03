"""Functional correctness: does a solution pass its test?"""

from __future__ import annotations

from weightcut.records import ExecutionResult
from weightcut.sandbox import shared


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
