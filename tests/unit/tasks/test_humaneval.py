"""HumanEval: canonical answers pass, empty ones do not, in both forms of the prompt."""

from __future__ import annotations

import pytest
from tests.answers import completion, scores, share

from weightcut.tasks.humaneval import HumanEval


@pytest.mark.parametrize("chat", [True, False])
def test_canonical_answers_score_full_and_bodies_of_pass_nothing(chat: bool) -> None:
    task = HumanEval()
    prompts = {sample.id: "" if chat else sample.plain_prompt for sample in task.items()}
    right = scores(task, lambda s: s.reference.removeprefix(prompts[s.id]), chat=chat)
    assert len(right) == 164
    for metric in task.metrics:
        assert share(right, metric) == pytest.approx(1), metric
    wrong = scores(task, lambda _: "    pass\n", chat=chat)
    assert share(wrong, "passed") == 0
    assert share(wrong, "compiles") == 1


FORGED = {
    "032": "def poly(xs, x):\n    return 0.0\n\ndef find_zero(xs):\n    return 0.0\n",
    "038": "def encode_cyclic(s):\n    return s\n\ndef decode_cyclic(s):\n    return s\n",
    "050": "def encode_shift(s):\n    return s\n\ndef decode_shift(s):\n    return s\n",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_helper_that_is_written_anew_does_not_make_a_test_agree(name: str) -> None:
    task = HumanEval()
    sample = next(one for one in task.items() if one.id == name)
    answer = f"```python\n{FORGED[name]}```"
    assert task.score(sample, completion(answer), chat=True).values["passed"] == 0


def test_what_parses_need_not_compile() -> None:
    task = HumanEval(limit=1)
    found = task.score(task.items()[0], completion("def f():\n    pass\nreturn 1"), chat=True)
    assert found.values["passed"] == 0
    broken = task.score(
        task.items()[0], completion("def has_close_elements(a, a): pass"), chat=True
    )
    assert (broken.values["parses"], broken.values["compiles"]) == (1, 0)
