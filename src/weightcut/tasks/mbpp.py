"""MBPP: short Python functions to write from one sentence and three tests (arXiv:2108.07732)."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.data.datasets import dataset_folder, needed, read_jsonl, read_text
from weightcut.errors import BrokenInput, UsageError, missing_extra
from weightcut.metrics.parses import parse_python
from weightcut.records import Completion, Record, Sample, Scores, no_text
from weightcut.tasks.extract import Extracted, complete_python, extract_python
from weightcut.tasks.python_scores import METRICS, answer_scores
from weightcut.tasks.python_tests import run_against

HUB = "hub:google-research-datasets/mbpp@4bb6404fdc6cacfda99d4ac4205087b89d32030c"
ORIGIN = f"MBPP, from google-research/google-research (folder mbpp), or {HUB}"
FILES = {"full": "mbpp.jsonl", "sanitized": "sanitized-mbpp.json"}
# The paper's parts, by task number.
SPLITS = {"test": (11, 510), "prompt": (1, 10), "validation": (511, 600), "train": (601, 974)}
SHOTS = (2, 3, 4)
TASK = "You are an expert Python programmer, and here is your task: {text}"
TESTS = "Your code should pass these tests:\n\n{tests}"
INSTRUCTION = f"{TASK} {TESTS}\n\nAnswer with the code in one Python code block."
PREFILL = "```python\n"
PLAIN = f"{TASK} {TESTS}\n[BEGIN]\n"


class Problem(Record):
    """One task: its sentence, the code that solves it, what its tests need first, its tests."""

    number: int
    text: str
    code: str
    setup: str
    tests: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The tests as the prompt shows them."""
        return "\n".join(filter(None, (self.setup, *self.tests)))


class Mbpp(Record):
    """MBPP: pass@k, CodeBLEU against the given solution, shares that parse and compile.

    The prompt is the paper's, tests and their setup code shown. A chat gets INSTRUCTION, the answer
    begun with PREFILL and ended with the code block; a model without a chat template completes
    PLAIN after three solved examples (tasks 2, 3 and 4, as in the paper; those of them that the
    file has), up to `[DONE]`. Extraction: weightcut.tasks.extract; the function's name is that
    which the tests call. The challenge tests are not used.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    chat_stop: ClassVar[tuple[str, ...]] = ("\n```",)
    plain_stop: ClassVar[tuple[str, ...]] = ("[DONE]", "\n[BEGIN]", "\nYou are an expert", "\n```")

    kind: Literal["mbpp"] = "mbpp"
    data: str = Field(
        "", description=f"folder with {' or '.join(FILES.values())}; or hub, for the data set there"
    )
    subset: Literal["full", "sanitized"] = Field(
        "full", description="all, or those checked by hand"
    )
    split: Literal["test", "prompt", "validation", "train", "all"] = Field(
        "test", description="part of the tasks, as in the paper; test: numbers 11 to 510"
    )
    limit: int | None = Field(None, ge=1, description="only the first tasks; all without it")
    samples: int = Field(1, ge=1, description="answers to each task")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(256, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(5.0, gt=0, description="CPU seconds for an answer's tests")

    def items(self) -> Sequence[Sample]:
        """Return the tasks in the order of their numbers."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        problems = read_problems(self.data, self.subset)
        first, last = SPLITS.get(self.split, (0, 1 << 31))
        chosen = [problem for problem in problems if first <= problem.number <= last]
        if not chosen:
            raise UsageError(
                f"none of its {len(problems)} tasks is of the split {self.split!r} "
                f"(numbers {first} to {last})",
                place=self.data,
                cure="set split: all",
            )
        shots = "".join(_shot(p) for n in SHOTS for p in problems if p.number == n)
        return [_sample(problem, shots) for problem in chosen]

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        found = self.extract(sample, completion.text, chat)
        name = sample.meta["entry_point"]
        outcome = run_against(found.program, sample.meta["test"], name, self.timeout)
        return answer_scores(
            sample.reference,
            found,
            completion,
            {"passed": outcome.status == "passed"},
            {"status": outcome.status, "output": outcome.output[-2000:]},
        )

    def extract(self, sample: Sample, text: str, chat: bool) -> Extracted:
        """Return the code of an answer."""
        name = sample.meta["entry_point"]
        if chat:
            return extract_python(sample.prefill + text, "", name)
        return complete_python(text, "", name)


def read_problems(place: str, subset: str) -> list[Problem]:
    """Return the tasks of a folder, or of the hub, in the order of their numbers.

    BrokenInput names file and line of what cannot be read; UsageError says what is missing.
    """
    if not place:
        raise UsageError(
            "the task mbpp brings no data of its own",
            place="task mbpp",
            cure=f"set data: FOLDER, a folder with {FILES[subset]}, or data: hub; {ORIGIN}",
        )
    folder = dataset_folder(HUB if place == "hub" else place, (f"{subset}/*.parquet",), ORIGIN)
    tables = sorted((folder / subset).glob("*.parquet"))
    if tables and not (folder / FILES[subset]).exists():
        rows = [row for table in tables for row in _table(table)]
    elif subset == "full":
        path = needed(folder, FILES[subset], ORIGIN)
        rows = [(f"{path}:{line}", row) for line, row in read_jsonl(path, ("text", "code"))]
    else:
        rows = list(_array(needed(folder, FILES[subset], ORIGIN)))
    problems = [_problem(row, where) for where, row in rows]
    if not problems:
        raise BrokenInput("there are no tasks", place=str(folder))
    return sorted(problems, key=lambda problem: problem.number)


def _array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BrokenInput(f"is no JSON: {error.msg}", place=f"{path}:{error.lineno}") from None
    except RecursionError:
        raise BrokenInput("is no JSON: nested too deeply", place=str(path)) from None
    if not isinstance(rows, list):
        raise BrokenInput("is no list of tasks", place=str(path))
    for number, row in enumerate(rows, start=1):
        place = f"{path}, task {number} of the list"
        if not isinstance(row, dict):
            raise BrokenInput("is no JSON object", place=place)
        yield place, row


def _table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "router") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BrokenInput(f"is no table: {error}", place=str(path)) from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", row


def _problem(row: dict[str, Any], place: str) -> Problem:
    text = row.get("text", row.get("prompt"))
    setup = row.get("test_setup_code") or "\n".join(_texts(row.get("test_imports", []), place))
    number, code = row.get("task_id"), row.get("code")
    for key, value, kind in (
        ("text", text, str), ("code", code, str), ("task_id", number, int), ("setup", setup, str),
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise BrokenInput(f"{key!r} is missing or of the wrong type", place=place)
    tests = _texts(row.get("test_list"), place)
    if not tests:
        raise BrokenInput("'test_list' is empty", place=place)
    if halves := no_text([text, setup, code, tests]):
        raise BrokenInput(halves, place=place)
    lines = (str(part).replace("\r\n", "\n").strip("\n") for part in (code, setup))
    fields = dict(zip(("code", "setup"), lines, strict=True))
    problem = Problem(number=number, text=str(text).strip(), tests=tests, **fields)
    if not _entry_point(problem):
        raise BrokenInput("the tests call no function of the code", place=place)
    return problem


def _texts(value: Any, place: str) -> tuple[str, ...]:
    """Return a list of texts; some copies of the data hold it written as a Python literal."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise BrokenInput("a list of tests is no Python literal", place=place) from None
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BrokenInput("a list of tests is no list of texts", place=place)
    return tuple(value)


def _entry_point(problem: Problem) -> str:
    """Return the function that the tests call and the code defines, "" where there is none."""
    code, tests = parse_python(problem.code), parse_python("\n".join(problem.tests))
    if code is None or tests is None:
        return ""
    own = [node.name for node in code.body if isinstance(node, ast.FunctionDef)]
    called = {
        node.func.id
        for node in ast.walk(tests)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return next((name for name in reversed(own) if name in called), "")


def _shot(problem: Problem) -> str:
    words = {"text": problem.text, "tests": problem.shown}
    return f"{PLAIN.format(**words)}{problem.code}\n[DONE]\n\n"


def _sample(problem: Problem, shots: str) -> Sample:
    words = {"text": problem.text, "tests": problem.shown}
    return Sample(
        id=f"{problem.number:03d}",
        messages=({"role": "user", "content": INSTRUCTION.format(**words)},),
        prefill=PREFILL,
        plain_prompt=shots + PLAIN.format(**words),
        reference=problem.code,
        meta={"entry_point": _entry_point(problem), "test": f"{problem.shown}\n"},
    )
