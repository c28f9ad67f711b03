"""Measure which checks the buggy functions of HumanEvalFix and QuixBugs pass.

    python tools/make_known_passes.py HUMANEVALPACK_FOLDER QUIXBUGS_FOLDER

Writes src/weightcut/tasks/data/known_passes.json, which holds digests and numbers of checks and no
text of either: with it a task knows which check shows a bug, and need not run the bug each time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from weightcut.tasks.humanevalfix import HumanEvalFix
from weightcut.tasks.python_tests import passing
from weightcut.tasks.quixbugs import QuixBugs
from weightcut.tasks.repairing import KNOWN, Bug, passes_key

TARGET = Path(__file__).parents[1] / "src" / "weightcut" / "tasks" / "data" / KNOWN
TIMEOUT = 2.0  # CPU seconds


def main() -> None:
    """Write the table."""
    table: dict[str, tuple[int, ...]] = {}
    for task in (HumanEvalFix(data=sys.argv[1]), QuixBugs(data=sys.argv[2])):
        for sample in task.items():
            bug = Bug.model_validate(sample.meta["bug"])
            program = bug.before + bug.buggy
            passed = passing(program, bug.suite, bug.name, TIMEOUT)
            table[passes_key(program, bug.suite)] = passed
            print(task.kind, bug.id, f"{len(passed)} of {len(bug.suite.checks)} pass")
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(table[key])}" for key in sorted(table))
    TARGET.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
