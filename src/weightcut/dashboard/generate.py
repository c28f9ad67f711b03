"""Answers of a run's variants to one prompt: `python -m weightcut.dashboard.generate`.

A question as JSON comes on stdin, the answers go to stdout as JSON. In a process of its own, so
that the server of the pages holds no model, and none stays in memory after the answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from weightcut.errors import NotHere, UsageError, WeightcutError
from weightcut.records import Artifact, CellKey, Record, Request, VariantSpec
from weightcut.store.artifacts import RECORD, read_artifact
from weightcut.store.run_store import RunStore

LONGEST = 20_000  # letters of a prompt


class Question(Record):
    """What is asked of whom. tokens: the most of an answer."""

    folder: Path
    variants: tuple[str, ...]
    prompt: str
    tokens: int = 256


def generate(question: Question, seconds: float = 600.0) -> dict[str, dict[str, Any]]:
    """Return each variant's answer, made in another process.

    An answer has `text`, `tokens`, `seconds`, and `cut`: whether it ends at the most tokens.
    """
    if len(question.prompt) > LONGEST:
        raise UsageError(f"the prompt has more than {LONGEST:,} letters")
    command = [sys.executable, "-m", "weightcut.dashboard.generate"]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=question.model_dump_json(), capture_output=True, encoding="utf-8",
            errors="replace",  # of what engines print, which may be half a letter
            timeout=seconds, check=False,
        )  # fmt: skip
        told = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise NotHere(f"the models took longer than {seconds:.0f} s") from error
    except (ValueError, IndexError) as error:
        raise WeightcutError(f"the models ended with code {done.returncode}") from error
    if "error" in told:
        raise WeightcutError(str(told["error"]), cure=str(told.get("cure", "")))
    answers: dict[str, dict[str, Any]] = told["answers"]
    return answers


def _answers(question: Question) -> dict[str, dict[str, Any]]:
    store = RunStore.open(question.folder, read_only=True)
    try:
        spec = store.spec()
        known = {variant.name for variant in spec.variants}
        wanted = [spec.variant(name) for name in question.variants if name in known]
        artifacts = {variant.name: _artifact(store, variant.name) for variant in wanted}
    finally:
        store.close()
    return {v.name: _answer(v, artifacts[v.name], question, spec.seed) for v in wanted}


def _artifact(store: RunStore, name: str) -> Artifact:
    build = store.cell(CellKey(variant=name, stage="build"))
    facts = build.manifest.get("artifact") if build else None
    if facts is None:
        raise UsageError(f"{name} is not built", cure="run the study first")
    artifact = Artifact.model_validate(facts)
    if not artifact.path.is_dir():
        raise UsageError(
            f"the model of {name} is not on this machine any more", place=str(artifact.path),
            cure="run the study again",
        )  # fmt: skip
    return read_artifact(artifact.path) if (artifact.path / RECORD).is_file() else artifact


def _answer(
    variant: VariantSpec, artifact: Artifact, question: Question, seed: int
) -> dict[str, Any]:
    from weightcut.models.tokenizer import load_tokenizer
    from weightcut.study.build import open_engine

    tokenizer = load_tokenizer(artifact.path)
    if tokenizer.has_chat_template:
        prompt, ids = tokenizer.chat_ids([{"role": "user", "content": question.prompt}])
    else:
        prompt, ids = question.prompt, tokenizer.plain_ids(question.prompt)
    request = Request(
        id="prompt", prompt=prompt, prompt_ids=tuple(ids), max_new_tokens=question.tokens,
        stop_ids=tokenizer.stop_ids, seed=seed,
    )  # fmt: skip
    with open_engine(variant.engine).open(artifact) as session:
        began = time.perf_counter()
        (made,) = session.generate([request])
        seconds = time.perf_counter() - began
    return {
        "text": made.text,
        "tokens": len(made.token_ids),
        "seconds": seconds,
        "cut": made.finish_reason == "length",
    }


def main() -> None:
    """Answer the question on stdin."""
    try:
        told: dict[str, Any] = {"answers": _answers(Question.model_validate_json(sys.stdin.read()))}
    except WeightcutError as error:
        told = {"error": str(error), "cure": error.cure}
    except Exception as error:  # noqa: BLE001 - engines fail in their own ways; the page tells it
        told = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
