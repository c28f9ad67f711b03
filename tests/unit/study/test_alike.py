"""What a cell is measured with is stored as it begins, and again where it goes on otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.errors import WeightcutError
from weightcut.models.resolve import resolve
from weightcut.records import CellKey, Observation
from weightcut.store.run_store import RunStore
from weightcut.study.alike import begin
from weightcut.study.spec import load_study

KEY = CellKey(variant="full", stage="task", task="humaneval")
OTHER = KEY.model_copy(update={"variant": "light"})


def test_a_cell_that_goes_on_otherwise_says_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = humaneval_model(tmp_path / "model")
    spec = load_study(scripted_study(tmp_path, model))
    checkpoint, full = resolve(str(model)), spec.variant("full")
    store = RunStore.create(tmp_path / "run", spec)
    store.plan([KEY, OTHER])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    begin(store, KEY, full, checkpoint, prompts_digest="a")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    facts = begin(store, KEY, full, checkpoint, prompts_digest="b")
    assert [one["OMP_NUM_THREADS"] for one in facts["measured_with"]] == ["2"], "nothing was lost"
    assert facts["measured_with"][0]["weightcut"]
    store.add(KEY, Observation(sample="0", values={"passed": 1.0}))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with pytest.raises(WeightcutError, match="not asked what full/humaneval was asked"):
        begin(store, KEY, full, checkpoint, prompts_digest="a")
    for _ in range(2):
        facts = begin(store, KEY, full, checkpoint, prompts_digest="b")
    assert [one["OMP_NUM_THREADS"] for one in facts["measured_with"]] == ["2", "3"]
    cell = store.cell(KEY)
    assert cell is not None
    assert cell.manifest == facts
    light = spec.variant("light")
    begin(store, OTHER, light, checkpoint, prompts_digest="a")  # the other one is not done
    store.close()
