"""Requests of tasks and of timings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightcut.errors import BrokenInput, UsageError
from weightcut.models.resolve import resolve
from weightcut.models.scripted import ScriptedModel
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import ProfileSpec
from weightcut.study.conditions import run_conditions
from weightcut.study.plan import make_plan
from weightcut.study.prompts import profile_requests
from weightcut.study.spec import load_study
from weightcut.tasks.humaneval import HumanEval

ROW = {
    "task_id": 11,
    "text": "Add one.",
    "code": "def add(x): return x + 1",
    "test_list": ["assert add(1) == 2"],
}


def test_two_samples_of_one_id_are_refused_before_anything_runs(tmp_path: Path) -> None:
    model = ScriptedModel().save(tmp_path / "model")
    (tmp_path / "mbpp.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n")
    spec = load_study(
        {
            "model": str(model),
            "variants": {"a": {"engine": "scripted"}},
            "tasks": [{"name": "mbpp", "data": str(tmp_path)}],
        }
    )
    checkpoint = resolve(spec.model)
    with pytest.raises(BrokenInput, match="task mbpp: two samples have the id '011'"):
        run_conditions(spec, checkpoint)
    with pytest.raises(BrokenInput, match="task mbpp: two samples have the id '011'"):
        make_plan(spec, checkpoint, {}, tmp_path / "artifacts")


@pytest.mark.parametrize(("limit", "count"), [(5, 5), (None, 21)])
def test_timed_prompts_are_different_where_a_task_samples(
    tmp_path: Path, limit: int | None, count: int
) -> None:
    tokenizer = load_tokenizer(ScriptedModel().save(tmp_path))
    task = HumanEval(limit=limit, samples=5, temperature=0.8)
    found = profile_requests(ProfileSpec(), [task], tokenizer, 0)
    assert len({one.prompt_ids for one in found}) == len(found) == count


def test_timed_prompts_leave_room_for_an_answer(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ScriptedModel().save(tmp_path))
    every = profile_requests(ProfileSpec(prompts=164), [HumanEval()], tokenizer, 0)
    lengths = sorted(len(one.prompt_ids) for one in every)
    spec = ProfileSpec(prompts=3, new_tokens=10)
    for task in ([HumanEval()], []):
        found = profile_requests(spec, task, tokenizer, 0, positions=lengths[10] + 10)
        assert len(found) == 4
        assert max(len(one.prompt_ids) for one in found) <= lengths[10]
        with pytest.raises(UsageError, match="the model takes 17 tokens in all"):
            profile_requests(spec, task, tokenizer, 0, positions=17)
