"""MdEval: functions with injected bugs in many languages (arXiv:2411.02310); three run here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.data.datasets import dataset_folder, read_jsonl
from weightcut.errors import BrokenInput, UsageError
from weightcut.metrics.code.ngrams import lexemes
from weightcut.metrics.codebleu import codebleu
from weightcut.metrics.degenerate import repetition
from weightcut.metrics.execution import run_csharp, run_java
from weightcut.metrics.parses import parses
from weightcut.metrics.snippets import compiler_missing, is_whole, split_imports
from weightcut.records import Completion, ExecutionResult, Record, Sample, Scores
from weightcut.tasks.extract_braces import closing_brace, extract_braces, without_method
from weightcut.tasks.python_tests import Suite, read_suite
from weightcut.tasks.repairing import STOP, Bug, score_repair, split_function

Language = Literal["python", "java", "csharp"]
ORIGIN = "MdEval, the data set Multilingual-Multimodal-NLP/MDEVAL of the hub (CC BY-SA 4.0)"
FILES = {
    "python": ("Python.jsonl",),
    "java": ("Java.jsonl",),
    "csharp": ("C#.jsonl", "CSharp.jsonl", "csharp.jsonl"),
}
KEYS = ("question_id", "buggy_code", "canonical_solution", "test", "instruction")
FENCES = {"python": "python", "java": "java", "csharp": "csharp"}
PLAIN = "{buggy}\n\n{sign} The code above has bugs. The corrected code:\n{head}"
METRICS = ("passed", "correct", "plausible", "exact_match", "codebleu", "parses")
LONGEST = 50_000  # characters of an answer that are looked at
_MAIN = {
    "java": re.compile(r"(?:public\s+|static\s+)+void\s+main\s*\([^)]*\)[^{};]*\{"),
    "csharp": re.compile(
        r"(?:public\s+|private\s+|static\s+)+(?:void|int)\s+Main\s*\([^)]*\)\s*\{"
    ),
}
_CLASS = re.compile(r"\bclass\s+Solution\b[^{]*\{")
# Debug.Assert is compiled away, or only prints, where nobody listens; here it has to fail.
_ASSERT = re.compile(r"(?:System\.Diagnostics\.)?Debug\.Assert\b")
_CHECK = """
static class MdEvalCheck {
    public static void Assert(bool holds, string message = "") {
        if (!holds) { throw new System.Exception("assertion failed: " + message); }
    }
}
"""


class MdEval(Record):
    """MdEval in Python, Java or C#: the bug is to be mended, and the one test set decides.

    MdEval has one set of tests a task and shows none of it, so that plausible and correct are the
    same here. regression (a check that the function with the bug passed, and that now fails) is
    known for Python alone, whose tests can be taken apart. The prompt is the data's own
    instruction, the answer begun with a code fence; a model without a chat template completes
    PLAIN. Extraction: weightcut.tasks.extract and extract_braces. For Java and C#, a main method
    that the answer brings is taken out, since the test brings one; exact match is of code tokens.

    Of the published tasks two pass with their bug left in: Python/27, whose bug is a missing import
    of the standard library (extraction supplies those to every answer), and Java/20, whose bug is a
    raw type, with which the program is as right as without.
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    further_metrics: ClassVar[tuple[str, ...]] = ("regression", "compiles")
    chat_stop: ClassVar[tuple[str, ...]] = ("\n```",)
    plain_stop: ClassVar[tuple[str, ...]] = (*STOP, "\n//")

    kind: Literal["mdeval"] = "mdeval"
    data: str = Field("", description="folder, or hub:org/name@COMMIT, with Python.jsonl and so on")
    language: Language = Field("python", description="which file of the folder is asked")
    limit: int | None = Field(None, ge=1, description="only the first tasks; all without it")
    samples: int = Field(1, ge=1, description="answers to each task")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(768, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(10.0, gt=0, description="CPU seconds for an answer's tests")

    def missing(self) -> str | None:
        """Return why this language cannot be run here, None if it can."""
        return None if self.language == "python" else compiler_missing(self._grammar)

    def notes(self) -> Sequence[str]:
        """Return what the data do not allow to be told apart."""
        said = "mdeval: one set of tests a task: plausible and correct are the same"
        if self.language != "python":
            said += "; whether an answer breaks what worked (regression) is not known"
        return [said]

    def items(self) -> Sequence[Sample]:
        """Return the tasks in the order of the file."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        path = self._file()
        make = self._python if self.language == "python" else self._braces
        found = [make(row, f"{path}:{line}") for line, row in read_jsonl(path, KEYS)]
        if not found:
            raise BrokenInput("holds no task", place=str(path))
        return found

    @property
    def _grammar(self) -> str:
        return "c_sharp" if self.language == "csharp" else self.language

    def _file(self) -> Path:
        names = FILES[self.language]
        if not self.data:
            raise UsageError(
                "the task mdeval brings no data of its own",
                place="task mdeval",
                cure=f"set data: FOLDER, a folder with {names[0]}; the data are {ORIGIN}",
            )
        folder = dataset_folder(self.data, [f"**/{name}" for name in names] + list(names), ORIGIN)
        found = [path for name in names for path in sorted(folder.rglob(name))]
        if not found:
            raise UsageError(
                f"the folder lacks the file {names[0]}",
                place=self.data,
                cure=f"the data are {ORIGIN}",
            )
        return found[0]

    def _sample(self, row: dict[str, Any], head: str, meta: dict[str, Any]) -> Sample:
        sign = "#" if self.language == "python" else "//"
        return Sample(
            id=row["question_id"].rpartition("/")[2].zfill(3),
            messages=({"role": "user", "content": row["instruction"].strip()},),
            prefill=f"```{FENCES[self.language]}\n",
            plain_prompt=PLAIN.format(buggy=row["buggy_code"].strip("\n"), sign=sign, head=head),
            reference=row["canonical_solution"],
            meta=meta,
        )

    def _python(self, row: dict[str, Any], place: str) -> Sample:
        fixed = row["canonical_solution"]
        try:
            name = _only_function(fixed)
            before, _ = split_function(fixed, name)
            suite = read_suite(row["test"], name)
        except (SyntaxError, ValueError) as error:
            raise BrokenInput(f"cannot be read as Python: {error}", place=place) from None
        if not suite.checks:  # it asserts through functions of its own
            suite = Suite(steps=(row["test"],), checks=(0,))
        bug = Bug(
            id=row["question_id"],
            name=name,
            before="",
            buggy=row["buggy_code"],
            fixed=fixed.strip("\n"),
            suite=suite,
            visible=suite.checks,
        )
        head = f"{before}def {name}("
        return self._sample(row, head, {"bug": bug.model_dump(mode="json"), "head": head})

    def _braces(self, row: dict[str, Any], place: str) -> Sample:
        opening = _CLASS.search(row["canonical_solution"])
        if opening is None or not _MAIN[self.language].search(row["test"]):
            raise BrokenInput("is no class Solution with a test that is its main", place=place)
        imports, _ = split_imports(row["canonical_solution"], self._grammar)
        head = row["canonical_solution"][: opening.end()]
        return self._sample(row, head, {"imports": imports, "head": head, "test": row["test"]})

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        if self.language == "python":
            return score_repair(sample, completion, chat, self.timeout)
        start = sample.prefill if chat else sample.meta["head"]
        code = extract_braces(start + completion.text[:LONGEST], self._grammar)
        outcome = self._run(program(code, sample.meta, self.language))
        passed = float(outcome.status == "passed")
        reference = _closed(sample.reference)
        loops = repetition(completion.token_ids)
        cut = completion.finish_reason == "length"
        return Scores(
            values={
                "passed": passed,
                "correct": passed,
                "plausible": passed,
                "exact_match": float(_tokens(code) == _tokens(reference)),
                "codebleu": codebleu(reference, _closed(code), self._grammar).codebleu,
                "parses": float(parses(_closed(code), self._grammar)),
                "repetition": float(loops),
                "token_limit": float(cut),
                "degenerate": float(loops or cut),
            },
            detail={"code": code, "status": outcome.status, "output": outcome.output[-2000:]},
        )

    def _run(self, source: str) -> ExecutionResult:
        run = run_java if self.language == "java" else run_csharp
        return run(source, timeout=self.timeout)


def program(code: str, meta: dict[str, Any], language: str) -> str:
    """Return the program that judges an answer: its class, left open, and the test that closes it.

    An answer without a class is put into one; what stands behind its class goes in front.
    """
    grammar = "c_sharp" if language == "csharp" else language
    imports, rest = split_imports(without_method(code, _MAIN[language]), grammar)
    if not is_whole(rest, grammar):
        rest = f"class Solution {{\n{rest}"
    opening = _CLASS.search(rest)
    end = closing_brace(rest, opening.end() - 1) if opening else None
    if end is not None:
        rest = f"{rest[end + 1 :].strip()}\n{rest[:end]}"
    test, checks = meta["test"], ""
    if language == "csharp":
        test, checks = _ASSERT.sub("global::MdEvalCheck.Assert", test), _CHECK
    needed = f"{meta['imports']}\n{imports}".splitlines()
    return "\n".join([*dict.fromkeys(line.strip() for line in needed), checks, rest, test])


def _tokens(code: str) -> list[str]:
    """Return the code's tokens; the data leave the last brace away, and an answer may too."""
    return lexemes(_closed(code))


def _closed(code: str) -> str:
    opening = _CLASS.search(code)
    left_open = opening is not None and closing_brace(code, opening.end() - 1) is None
    return f"{code.rstrip()}\n}}" if left_open else code.rstrip()


def _only_function(code: str) -> str:
    import ast

    names = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    if not names:
        raise ValueError("there is no function")
    return names[-1]
