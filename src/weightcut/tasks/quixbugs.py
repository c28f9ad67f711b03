"""QuixBugs: 40 Python programs of textbook algorithms, each with a bug on one line."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.data.datasets import read_jsonl, read_text
from weightcut.errors import BrokenInput
from weightcut.metrics.parses import python_tree
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.data_file import dataset_file
from weightcut.tasks.python_tests import Suite, read_suite, split_checks
from weightcut.tasks.repairing import (
    CHAT_STOP,
    REPAIR_METRICS,
    STOP,
    Bug,
    known_passes,
    repair_sample,
    score_repair,
    split_function,
)

FILE = "quixbugs_python.jsonl"
CASES = "json_testcases"
ORIGIN = "QuixBugs, from jkoppel/QuixBugs"
KEYS = ("name", "buggy_program", "docstring", "solution", "tests")
SEED = 0
# Cases that the right program takes minutes or gigabytes for; QuixBugs' own tests skip them too.
SLOW = ("knapsack(*[6404180,", "levenshtein(*['amanaplanacanalpanama', 'docnoteidissent")
# JSON knows neither tuples nor generators, and a root is only right up to the last argument.
SAME = """
def same(found, wanted, tolerance=0):
    if wanted is None or isinstance(wanted, (bool, str)):
        return found == wanted
    if isinstance(wanted, (int, float)):
        return found == wanted or abs(found - wanted) <= tolerance
    found = list(found)
    return len(found) == len(wanted) and all(map(same, found, wanted))
"""


class QuixBugs(Record):
    """QuixBugs in Python; visible are at most three of a program's checks, at most half of them.

    The checks are the assertions of `tests` and the lines of `json_testcases/NAME.json`, where that
    file is, that no assertion covers already; two that take minutes are left out (SLOW). Which are
    visible: `split_checks`, seed SEED, one that the bug fails among them where that is known. The
    function shows its documentation as a docstring. Prompt, extraction and scores:
    `weightcut.tasks.repairing`. Source: doi:10.1145/3135932.3135941.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = REPAIR_METRICS
    chat_stop: ClassVar[tuple[str, ...]] = CHAT_STOP
    plain_stop: ClassVar[tuple[str, ...]] = STOP

    kind: Literal["quixbugs"] = "quixbugs"
    data: str = Field("", description=f"folder with {FILE}, and {CASES} if there are any")
    limit: int | None = Field(None, ge=1, description="only the first programs; all 40 without it")
    samples: int = Field(1, ge=1, description="answers to each program")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(512, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(5.0, gt=0, description="CPU seconds for each run of an answer's tests")

    def items(self) -> Sequence[Sample]:
        """Return the programs in the order of the file."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        path = dataset_file(self.kind, self.data, FILE, ORIGIN)
        cases = path.parent / CASES
        return [
            repair_sample(_bug(row, cases, f"{path}:{line}"))
            for line, row in read_jsonl(path, KEYS)
        ]

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        return score_repair(sample, completion, chat, self.timeout)


def _bug(row: dict[str, Any], cases: Path, place: str) -> Bug:
    name = row["name"]
    try:
        suite = read_suite(row["tests"], name)
        before, fixed = split_function(documented(row["solution"], name, row["docstring"]), name)
        buggy = documented(row["buggy_program"], name, row["docstring"])
    except (SyntaxError, ValueError) as error:
        raise BrokenInput(f"cannot be read as Python: {error}", place=place) from None
    file = cases / f"{name}.json"
    if file.is_file():
        suite = suite.joined(_case_suite(name, file, suite))
    if len(suite.checks) < 2:
        raise BrokenInput("the tests hold fewer than two assertions", place=place)
    function = split_function(buggy, name)[1]
    known = known_passes(before + function, suite)
    failing = [check for check in suite.checks if known is not None and check not in known]
    return Bug(
        id=name,
        name=name,
        before=before,
        buggy=function,
        fixed=fixed,
        suite=suite,
        visible=split_checks(suite, name, SEED, failing)[0],
        passes=known,
    )


def documented(program: str, name: str, docstring: str) -> str:
    """Return a program with a text in triple quotes as the docstring of a function.

    A function on one line has no room for it and stays as it is.
    """
    lines = program.replace("\r\n", "\n").strip("\n").split("\n")
    nodes = [n for n in python_tree(program).body if isinstance(n, ast.FunctionDef)]
    node = next((n for n in nodes if n.name == name), None)
    if node is None:
        raise ValueError(f"there is no function {name}")
    if node.body[0].lineno == node.lineno:
        return "\n".join(lines)
    at = node.body[0].lineno - 1
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    inside = [f"{indent}{line}".rstrip() for line in docstring.strip().split("\n")]
    return "\n".join([*lines[:at], *inside, *lines[at:]])


def _case_suite(name: str, file: Path, known: Suite) -> Suite:
    """Return the lines `[arguments, result]` of a file as checks, those that are known left out."""
    steps = [ast.unparse(ast.parse(SAME))]
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            arguments, wanted = json.loads(line)
        except (ValueError, TypeError, RecursionError) as error:
            raise BrokenInput(
                f"is no JSON list of arguments and result: {error}", place=f"{file}:{number}"
            ) from None
        arguments = arguments if isinstance(arguments, list) else [arguments]
        call = f"{name}(*{arguments!r})"
        if any(call in known.steps[check] for check in known.checks) or call.startswith(SLOW):
            continue
        tolerance = f", {arguments[-1]!r}" if isinstance(wanted, float) else ""
        steps.append(f"assert same({call}, {wanted!r}{tolerance})")
    return Suite(steps=tuple(steps), checks=tuple(range(1, len(steps))))
