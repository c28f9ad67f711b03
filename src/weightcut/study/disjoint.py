"""That no text of the user's own that a variant is trained on is one its study measures on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weightcut.compression import recipe
from weightcut.compression.method import Reading
from weightcut.data.training_text import overlaps, refuse
from weightcut.records import Step
from weightcut.tasks.task import GenerationTask, LikelihoodTask

Task = GenerationTask | LikelihoodTask


def refuse_overlap(steps: Sequence[Step], tasks: Sequence[Task]) -> None:
    """Raise UsageError where a step is trained on a text that shares a passage with a task's.

    The embedded texts and HumanEval are looked at wherever such a text is read; here it is the
    tasks of one study, whose artifact may have been made for another one.
    """
    sources = [
        source
        for method in map(recipe.build, steps)
        if isinstance(method, Reading) and (source := method.text_source()) is not None
    ]
    for source in sources:
        refuse(source, overlaps(source, _measured(tasks)))


def _measured(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    """Yield names and texts of all that the tasks ask."""
    for task in tasks:
        if isinstance(task, LikelihoodTask):
            for number, text in enumerate(task.documents(), start=1):
                yield f"text {number} of the task {task.kind}", text
        else:
            for sample in task.items():
                yield f"{task.kind} {sample.id}", f"{sample.plain_prompt}\n{sample.reference}"
