"""Scores that every task of Python answers has."""

from __future__ import annotations

from weightcut.metrics.codebleu import codebleu
from weightcut.metrics.degenerate import repetition
from weightcut.metrics.parses import compiles, parses
from weightcut.records import Completion, Scores
from weightcut.tasks.extract import Extracted, strip_docstrings

METRICS = ("passed", "codebleu", "parses", "compiles")
LONGEST = 20_000  # characters of an answer that are kept beside its scores


def answer_scores(
    reference: str,
    found: Extracted,
    completion: Completion,
    verdicts: dict[str, bool],
    detail: dict[str, str],
) -> Scores:
    """Return the verdicts of execution with likeness to the reference, syntax, and how it ended.

    CodeBLEU compares code without docstrings, so that repeating the prompt's earns nothing.
    """
    similarity = codebleu(strip_docstrings(reference), strip_docstrings(found.code))
    loops = repetition(completion.token_ids)
    cut = completion.finish_reason == "length"
    values = {name: float(value) for name, value in verdicts.items()}
    return Scores(
        values=values
        | {
            "codebleu": similarity.codebleu,
            "parses": float(parses(found.code)),
            "compiles": float(compiles(found.code)),
            "repetition": float(loops),
            "token_limit": float(cut),
            "degenerate": float(loops or cut),
        },
        detail={"code": found.code[:LONGEST], **detail},
    )
