"""Requests of tasks and of timings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightcut.errors import BrokenInput
from weightcut.models.resolve import resolve
from weightcut.models.scripted import ScriptedModel
from weightcut.study.conditions import run_conditions
from weightcut.study.plan import make_plan
from weightcut.study.spec import load_study

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
