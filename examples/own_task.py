"""A task of your own: weightcut evaluate MODEL --task examples/own_task.py:Slugs."""

from typing import ClassVar, Literal

from weightcut.metrics.execution import run_tests
from weightcut.records import Completion, Record, Sample, Scores
from weightcut.tasks.extract import complete_python, extract_python

CASES = {"slug": ("Hello World", "hello-world"), "initials": ("Ada Lovelace", "A. L.")}


class Slugs(Record):
    """Two functions to write; the fields are the settings that a study may give."""

    mode: ClassVar[Literal["generation"]] = "generation"
    metrics: ClassVar[tuple[str, ...]] = ("passed",)  # what `score` gives every answer
    chat_stop: ClassVar[tuple[str, ...]] = ("\n```",)
    plain_stop: ClassVar[tuple[str, ...]] = ("\ndef ", "\n```")
    kind: Literal["slugs"] = "slugs"
    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 128
    limit: int | None = None

    def items(self) -> list[Sample]:
        """Return what is asked."""
        return [self._sample(name, *case) for name, case in CASES.items()][: self.limit]

    def _sample(self, name: str, text: str, wanted: str) -> Sample:
        head = f'def {name}(text):\n    """{text!r} becomes {wanted!r}."""\n'
        ask = {"role": "user", "content": f"Complete this function.\n\n```python\n{head}```"}
        test = f"assert {name}({text!r}) == {wanted!r}"
        meta = {"name": name, "head": head, "test": test}
        return Sample(id=name, messages=(ask,), plain_prompt=head, reference=wanted, meta=meta)

    def score(self, sample: Sample, completion: Completion, chat: bool) -> Scores:
        """Run the code of one answer, given to the chat form of the prompt or to the plain one."""
        extract = extract_python if chat else complete_python
        found = extract(completion.text, sample.meta["head"], sample.meta["name"])
        outcome = run_tests(found.program, sample.meta["test"])
        return Scores(values={"passed": float(outcome.status == "passed")})
