"""What the tasks of repairing Python functions share: prompt, extraction and scores.

A sample is a function with a bug and a suite of checks, of which some are visible (the prompt shows
them) and the others held out. Scores of an answer:

- plausible: it passes the visible checks;
- correct: it passes all of them; the same as `passed`, so that pass@k means the same as elsewhere;
- regression: it fails a check that the function with the bug passed;
- exact_match: the function has the reference's syntax tree, docstring aside;
- CodeBLEU, parses, compiles.

The words are those of automated program repair (Qi et al. 2015, doi:10.1145/2771783.2771791).
"""

from __future__ import annotations

import ast
import json
from functools import cache
from importlib.resources import files
from typing import Any

from weightcut.metrics.exact_match import exact_match
from weightcut.metrics.parses import parse_python, python_tree
from weightcut.records import Completion, Record, Sample, Scores, digest
from weightcut.tasks.extract import complete_python, defines, extract_python, strip_docstrings
from weightcut.tasks.humaneval import CHAT_STOP, PREFILL, STOP
from weightcut.tasks.python_names import helpers
from weightcut.tasks.python_scores import METRICS, answer_scores
from weightcut.tasks.python_tests import Suite, passing, run_against

__all__ = ["CHAT_STOP", "REPAIR_METRICS", "STOP", "Bug", "repair_sample", "score_repair"]

KNOWN = "known_passes.json"
REPAIR_METRICS = ("correct", "plausible", "regression", "exact_match", *METRICS)
INSTRUCTION = (
    "The Python function `{name}` has a bug. Fix it. "
    "Answer with the whole corrected function in one Python code block.\n\n"
    "```python\n{buggy}\n```\n\nThe corrected function passes these tests:\n\n"
    "```python\n{tests}\n```"
)
PLAIN = '{buggy}\n\n\n"""{name} has a bug. Corrected, it passes these tests:\n{tests}\n"""\n{head}'


class Bug(Record):
    """A function with a bug.

    before: what stands before the function (imports, helpers). buggy, fixed: the function itself,
    without it. visible: the checks of the suite that the prompt shows. passes: the checks that the
    function with the bug passes, None where that is not known yet.
    """

    id: str
    name: str
    before: str
    buggy: str
    fixed: str
    suite: Suite
    visible: tuple[int, ...]
    passes: tuple[int, ...] | None = None
    about: dict[str, Any] = {}


def repair_sample(bug: Bug) -> Sample:
    """Return the sample that asks for the mended function."""
    shown = f"{bug.before}{bug.buggy}".strip("\n")
    tests = "\n".join(bug.suite.steps[number] for number in bug.visible)
    head = f"{bug.before}{_head(bug.buggy, bug.name)}"
    words = {"name": bug.name, "buggy": shown, "tests": tests}
    return Sample(
        id=bug.id,
        messages=({"role": "user", "content": INSTRUCTION.format(**words)},),
        prefill=PREFILL,
        plain_prompt=PLAIN.format(head=head, **words),
        reference=bug.fixed,
        meta={"bug": bug.model_dump(mode="json"), "head": head},
    )


def score_repair(sample: Sample, completion: Completion, chat: bool, timeout: float) -> Scores:
    """Score one answer; timeout: CPU seconds for each run of checks."""
    bug = Bug.model_validate(sample.meta["bug"])
    head = sample.meta["head"]
    if chat:
        text = sample.prefill + completion.text
        found = extract_python(text, head, bug.name, shown=bug.before + bug.buggy)
    else:
        found = complete_python(completion.text, head, bug.name)
    outcome = run_against(found.program, _test(bug), bug.name, timeout)
    correct = outcome.status == "passed"
    plausible = correct or _passes(found.program, bug, bug.visible, timeout)
    answer = bare(found.code, bug.name)
    same = exact_match(bare(bug.buggy, bug.name), answer)  # nothing that passed can fail now
    verdicts = {
        "correct": correct,
        "plausible": plausible,
        "regression": not correct and not same and _regresses(found.program, bug, timeout),
        "exact_match": exact_match(bare(bug.fixed, bug.name), answer),
        "passed": correct,
    }
    detail = {"status": outcome.status, "output": outcome.output[-2000:]}
    return answer_scores(bug.fixed, found, completion, verdicts, detail)


def _passes(program: str, bug: Bug, checks: tuple[int, ...], timeout: float) -> bool:
    return run_against(program, _test(bug, checks), bug.name, timeout).status == "passed"


def _test(bug: Bug, checks: tuple[int, ...] | None = None) -> str:
    test = bug.suite.test(checks)
    return helpers(bug.before, test) + test


def _regresses(program: str, bug: Bug, timeout: float) -> bool:
    before = bug.passes
    if before is None:
        before = _measured(bug.before + bug.buggy, bug.suite, bug.name, timeout)
    return bool(before) and not _passes(program, bug, before, timeout)


@cache
def _measured(program: str, suite: Suite, name: str, timeout: float) -> tuple[int, ...]:
    return passing(program, suite, name, timeout)


def known_passes(program: str, suite: Suite) -> tuple[int, ...] | None:
    """Return the checks that a published function with a bug passes, None for an unknown one.

    From `data/known_passes.json`, measured by `tools/make_known_passes.py`.
    """
    found = _known().get(passes_key(program, suite))
    return None if found is None else tuple(found)


def passes_key(program: str, suite: Suite) -> str:
    """Return the key of a program with its checks in the table of known passes."""
    return digest([program, suite.steps, suite.checks])[:12]


@cache
def _known() -> dict[str, list[int]]:
    path = files("weightcut.tasks") / "data" / KNOWN
    known: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
    return known


def bare(code: str, name: str) -> str:
    """Return the last definition of the function as its syntax tree reads, without docstring.

    Comments, blank lines, quotes and brackets that change nothing are so left out. Code that cannot
    be read is returned without docstrings.
    """
    tree = parse_python(code)
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)] if tree else []
    wanted = [node for node in functions if node.name == name]
    if not wanted:
        return strip_docstrings(code)
    function = wanted[-1]
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    try:
        return ast.unparse(function)
    except RecursionError:
        return strip_docstrings(code)


def split_function(program: str, name: str) -> tuple[str, str]:
    """Return what stands before the last definition of a function, and the rest."""
    tree = python_tree(program)
    nodes = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    if not nodes:
        raise ValueError(f"there is no function {name}")
    first = min([nodes[-1].lineno, *(d.lineno for d in nodes[-1].decorator_list)])
    lines = program.split("\n")
    return "".join(f"{line}\n" for line in lines[: first - 1]), "\n".join(lines[first - 1 :])


def _head(function: str, name: str) -> str:
    """Return a function's signature with its docstring: what a plain answer goes on from."""
    assert defines(function, name)
    node = next(n for n in python_tree(function).body if isinstance(n, ast.FunctionDef))
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    lines = function.split("\n")
    if body[0].lineno == node.lineno:  # all on one line
        return lines[node.lineno - 1].encode()[: body[0].col_offset].decode().rstrip() + "\n"
    end = (body[0].end_lineno or 0) if documented else body[0].lineno - 1
    return "".join(f"{line}\n" for line in lines[:end])
