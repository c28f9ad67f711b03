"""Translation between Java and C#, scored by likeness to a reference translation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from weightcut.data.datasets import dataset_folder, needed, read_text
from weightcut.errors import BrokenInput, UsageError, missing_extra
from weightcut.metrics.bleu import bleu_counts, sentence_bleu
from weightcut.metrics.code.ngrams import lexemes
from weightcut.metrics.codebleu import codebleu
from weightcut.metrics.degenerate import repetition
from weightcut.metrics.parses import parses
from weightcut.metrics.snippets import compiler_missing, compiles, whole
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.extract_braces import extract_braces, members

Direction = Literal["java-cs", "cs-java"]
NAMES = {"java": "Java", "c_sharp": "C#"}
FENCES = {"java": "java", "c_sharp": "csharp"}
INSTRUCTION = (
    "Translate the following {source} code to {target}. "
    "Answer with the {target} code alone, in one code block.\n\n```{fence}\n{code}\n```"
)
PLAIN = "// {source}\n{code}\n\n// The same in {target}\n"
ORIGIN = "CodeXGLUE's code-to-code translation, from microsoft/CodeXGLUE"
WANTED = ("*.txt.java", "*.txt.cs", "*.parquet")
LONGEST = 50_000  # characters of an answer that are looked at; a method is far shorter


class Translate(Record):
    """Java to C# or back: BLEU, CodeBLEU, exact match, and whether the answer parses and compiles.

    The prompt is INSTRUCTION through the model's chat template, the answer begun with a code fence;
    a model without one completes PLAIN. Extraction: weightcut.tasks.extract_braces. All likeness is
    of code tokens (words, numbers, operators), whatever the white space between them. BLEU is
    sacrebleu's of one sentence, as a share; `corpus_bleu` in the results is that of all together. A
    method is
    put into a class before it is parsed or compiled, since neither language knows methods without
    one. `compiles` is there for the embedded pairs, where a compiler is: see `notes`.

    Data: 26 pairs written for weightcut, or CodeXGLUE's lines (`data`).
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = ("bleu", "codebleu", "exact_match", "parses")
    further_metrics: ClassVar[tuple[str, ...]] = ("compiles",)
    chat_stop: ClassVar[tuple[str, ...]] = ("\n```",)
    plain_stop: ClassVar[tuple[str, ...]] = ("\n//", "\n```", "\n\n\n")

    kind: Literal["translate"] = "translate"
    direction: Direction = Field("java-cs", description="from the first language to the second")
    data: str = Field(
        "", description="a folder, or hub:org/name@COMMIT, of CodeXGLUE; empty: the embedded pairs"
    )
    split: Literal["test", "valid", "train"] = Field("test", description="part of `data`")
    limit: int | None = Field(None, ge=1, description="only the first pairs; all without it")
    samples: int = Field(1, ge=1, description="answers to each pair")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(384, ge=1, description="tokens after which an answer is cut off")

    @property
    def source(self) -> str:
        """The language that is translated from."""
        return "java" if self.direction == "java-cs" else "c_sharp"

    @property
    def target(self) -> str:
        """The language that is translated to."""
        return "c_sharp" if self.direction == "java-cs" else "java"

    def items(self) -> Sequence[Sample]:
        """Return the pairs in the order of the data."""
        return self._items[: self.limit]

    def notes(self) -> Sequence[str]:
        """Return what is not judged."""
        if self.data:
            return [
                "translate: methods name types that are not there, so that no compiler can judge "
                "them; `parses` is by grammar"
            ]
        said = ["translate: 26 pairs written for weightcut; too few for fine differences"]
        missing = compiler_missing(self.target)
        if missing:
            said.append(f"translate: {NAMES[self.target]} is parsed, not compiled: {missing}")
        return said

    @cached_property
    def _items(self) -> list[Sample]:
        pairs = read_pairs(self.data, self.split) if self.data else embedded_pairs()
        return [self._sample(name, java, sharp) for name, java, sharp in pairs]

    def _sample(self, name: str, java: str, sharp: str) -> Sample:
        code, reference = (java, sharp) if self.source == "java" else (sharp, java)
        words = {"source": NAMES[self.source], "target": NAMES[self.target], "code": code.strip()}
        content = INSTRUCTION.format(fence=FENCES[self.source], **words)
        return Sample(
            id=name,
            messages=({"role": "user", "content": content},),
            prefill=f"```{FENCES[self.target]}\n",
            plain_prompt=PLAIN.format(**words),
            reference=reference.strip(),
        )

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        answer = (sample.prefill if chat else "") + completion.text[:LONGEST]
        code = extract_braces(answer, self.target)
        inner = members(code, self.target)
        ours, theirs = (lexemes(text) for text in (inner, members(sample.reference, self.target)))
        loops = repetition(completion.token_ids)
        cut = completion.finish_reason == "length"
        grammatical = bool(inner) and parses(whole(code, self.target), self.target)
        values = bleu_counts(" ".join(theirs), " ".join(ours))
        if not self.data and compiler_missing(self.target) is None:
            values["compiles"] = float(grammatical and compiles(code, self.target))
        return Scores(
            values=values
            | {
                "bleu": min(1.0, sentence_bleu(" ".join(theirs), " ".join(ours)) / 100),
                "codebleu": codebleu(sample.reference, inner, self.target).codebleu,
                "exact_match": float(ours == theirs),
                "parses": float(grammatical),
                "repetition": float(loops),
                "token_limit": float(cut),
                "degenerate": float(loops or cut),
            },
            detail={"code": code},
        )


def embedded_pairs() -> list[tuple[str, str, str]]:
    """Return (name, Java, C#) of the pairs written for weightcut."""
    import yaml

    text = (files("weightcut.tasks") / "data" / "translate.yaml").read_text(encoding="utf-8")
    return [(row["id"], row["java"], row["csharp"]) for row in yaml.safe_load(text)]


def read_pairs(place: str, split: str) -> list[tuple[str, str, str]]:
    """Return (name, Java, C#) of CodeXGLUE's aligned lines, or of the hub's tables of them."""
    folder = dataset_folder(place, WANTED, ORIGIN)
    tables = sorted(folder.rglob(f"{split}-*.parquet"))
    if tables and not (folder / f"{split}.java-cs.txt.java").exists():
        rows = [row for table in tables for row in _table(table)]
    else:
        sides = [
            _lines(needed(folder, f"{split}.java-cs.txt.{ending}", ORIGIN))
            for ending in ("java", "cs")
        ]
        if len(sides[0]) != len(sides[1]):
            raise BrokenInput(
                f"{len(sides[0])} lines of Java but {len(sides[1])} of C#",
                place=str(folder / f"{split}.java-cs.txt.java"),
                cure=f"the files are aligned line by line; {ORIGIN}",
            )
        rows = list(zip(*sides, strict=True))
    if not rows:
        raise BrokenInput("there are no pairs", place=str(folder))
    width = len(str(len(rows)))
    return [(f"{i:0{width}d}", java, sharp) for i, (java, sharp) in enumerate(rows, start=1)]


def _lines(path: Path) -> list[str]:
    lines = read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise BrokenInput("is empty", place=f"{path}:{number}")
    return lines


def _table(path: Path) -> list[tuple[str, str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise missing_extra("pyarrow", "router") from error
    try:
        columns: dict[str, list[Any]] = parquet.read_table(path, columns=["java", "cs"]).to_pydict()
    except (OSError, ValueError, KeyError, ArrowException) as error:
        raise BrokenInput(f"is no table of java and cs: {error}", place=str(path)) from error
    found = list(zip(columns.get("java", ()), columns.get("cs", ()), strict=True))
    if not all(isinstance(one, str) for row in found for one in row):
        raise UsageError("its columns java and cs are not texts", place=str(path))
    return found
