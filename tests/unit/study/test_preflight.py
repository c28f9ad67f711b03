"""Before anything runs: what does not fit is refused with the number and with what would fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.models.test_shape import EMBEDDING, LAYERS, LLAMA, checkpoint

from weightcut.compression import recipe
from weightcut.errors import NotHere, UsageError
from weightcut.hardware import rules, verdicts
from weightcut.hardware.speed import REFERENCE
from weightcut.models.scripted import ScriptedModel
from weightcut.models.shape import shape_of
from weightcut.records import CellKey, Checkpoint
from weightcut.study import plan as module
from weightcut.study.plan import Plan, PlannedCell, make_plan, refuse_if_too_big
from weightcut.study.predict import Predictor
from weightcut.study.spec import load_study

BIG = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32_000,
    "num_key_value_heads": 32, "model_type": "llama",
}  # fmt: skip
TASKS = [{"name": "perplexity", "limit": 2, "length": 64}]


@pytest.fixture(autouse=True)
def _reference_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "speed", lambda: REFERENCE)


def big(folder: Path, parameters: int = 7_000_000_000) -> Checkpoint:
    """Return a checkpoint that says it has so many weights; its files are small."""
    made = checkpoint(folder / "model", LLAMA | BIG, LAYERS | EMBEDDING)
    return made.model_copy(update={"parameters": parameters, "bytes": 2 * parameters})


def planned(
    model: Checkpoint, recipes: dict[str, tuple[str, str]], memory: float, disk: float = 1e12
) -> Plan:
    variants = {n: {"engine": e, "recipe": r} for n, (e, r) in recipes.items()}
    spec = load_study(
        {"model": str(model.path), "variants": variants, "tasks": TASKS, "profile": None}
    )
    here = {"memory_available_bytes": int(memory), "disk_free_bytes": int(disk), "cores": 2}
    return make_plan(spec, model, here, model.path / "artifacts")


def cell(plan: Plan, name: str) -> PlannedCell:
    return next(one for one in plan.cells if str(one.key) == name)


def test_a_cell_that_does_not_fit_is_refused_with_the_number_and_what_fits(tmp_path: Path) -> None:
    recipes = {"full": ("transformers", ""), "int4": ("openvino", "int4")}
    plan = planned(big(tmp_path), recipes, 20e9)
    build = cell(plan, "int4/build")
    assert build.refused
    needed = re.match(r"needs about ([\d.]+) GB of memory, 20.0 GB are available; ", build.skip)
    assert needed is not None
    assert float(needed[1]) > 20
    fits = re.search(r"nearest that fits: (\S+) with the engine \w+ \(([\d.]+) GB", build.skip)
    assert fits is not None
    assert float(fits[2]) <= 20
    assert recipe.parse_recipe(fits[1])
    assert cell(plan, "int4/perplexity").skip == "int4 is not built"
    assert not cell(plan, "full/perplexity").refused


def test_a_baseline_that_does_not_fit_refuses_the_run(tmp_path: Path) -> None:
    plan = planned(big(tmp_path), {"full": ("transformers", "")}, 8e9)
    assert cell(plan, "full/perplexity").refused
    with pytest.raises(NotHere, match=r"the baseline needs about .* GB of memory"):
        refuse_if_too_big(plan, {}, "full")


def test_compressing_alone_is_refused_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = big(tmp_path)
    steps = (recipe.parse_step("gptq"),)
    monkeypatch.setattr("weightcut.hardware.probe.memory_available", lambda: 9_000_000_000)
    monkeypatch.setattr("weightcut.hardware.probe.disk_free", lambda _folder: 10**12)
    with pytest.raises(NotHere, match=r"making it needs about [\d.]+ GB of memory, 9.0 GB are"):
        module.refuse_recipe(model, steps, 0, tmp_path)
    monkeypatch.setattr("weightcut.hardware.probe.memory_available", lambda: 10**12)
    module.refuse_recipe(model, steps, 0, tmp_path)


def test_where_nothing_fits_it_says_so(tmp_path: Path) -> None:
    plan = planned(big(tmp_path), {"full": ("transformers", "")}, 1e8)
    assert cell(plan, "full/perplexity").skip.endswith("no recipe of weightcut fits")


def test_what_is_not_built_is_not_measured_and_costs_nothing(tmp_path: Path) -> None:
    recipes = {"full": ("transformers", ""), "gptq": ("transformers", "gptq")}
    plan = planned(big(tmp_path), recipes, 1e12, disk=1e9)
    assert "GB of disk, 1.0 GB are free" in cell(plan, "gptq/build").skip
    assert cell(plan, "gptq/perplexity").skip == "gptq is not built"
    assert plan.disk < 1e9


def test_weights_that_are_unpacked_at_work_need_the_memory_of_16_bits(tmp_path: Path) -> None:
    recipes = {"full": ("transformers", ""), "gptq": ("transformers", "gptq")}
    plan = planned(big(tmp_path), recipes, 1e12)
    full, gptq = cell(plan, "full/perplexity"), cell(plan, "gptq/perplexity")
    assert gptq.prediction.memory > 0.8 * full.prediction.memory


@pytest.mark.parametrize(("engine", "bits"), [("transformers", 16), ("vllm", 4), ("tensorrt", 4)])
def test_packed_weights_are_large_in_engines_that_unpack_them_alone(
    engine: str, bits: int, tmp_path: Path
) -> None:
    variants = {"full": {"engine": engine}, "gptq": {"engine": engine, "recipe": "gptq"}}
    model = big(tmp_path)
    spec = load_study({"model": str(model.path), "variants": variants, "tasks": TASKS})
    predictor = Predictor(spec, model, shape_of(model), resident=verdicts.resident_bits())
    key = CellKey(variant="gptq", stage="task", task="perplexity")
    work = predictor.work(key, (recipe.parse_step("gptq"),), ())
    [held] = work.memory
    inner = predictor.shape.inner
    assert held[0].amounts["resident"] == pytest.approx(
        inner * bits / 8 + predictor.shape.outer * 2, rel=0.07
    )


def test_larger_models_and_longer_texts_cost_more(tmp_path: Path) -> None:
    recipes = {"full": ("transformers", ""), "gptq": ("transformers", "gptq(windows=4)")}
    longer = recipes | {"gptq": ("transformers", "gptq(windows=64)")}
    small = planned(big(tmp_path / "small", 1_000_000_000), recipes, 1e12)
    large = planned(big(tmp_path / "large"), recipes, 1e12)
    long = planned(big(tmp_path / "long"), longer, 1e12)
    for name in ("full/perplexity", "gptq/build", "gptq/perplexity"):
        before, after = cell(small, name).prediction, cell(large, name).prediction
        assert before.memory < after.memory
        assert before.seconds < after.seconds
    before, after = cell(large, "gptq/build").prediction, cell(long, "gptq/build").prediction
    assert before.memory < after.memory
    assert before.seconds < after.seconds


def test_the_doctors_rules_hold_in_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = rules.Rule(
        id="test-never",
        device="any",
        parts=rules.Parts(names=("bnb-nf4",)),
        verdict="not-here",
        reason="for a test",
        instead="something else",
        source="docs/doctor.md",
    )
    found = (*rules.rules(), never)
    monkeypatch.setattr("weightcut.hardware.verdicts.rules", lambda: found)
    recipes = {"full": ("transformers", ""), "nf4": ("transformers", "bnb-nf4")}
    plan = planned(big(tmp_path), recipes, 1e12)
    build = cell(plan, "nf4/build")
    assert build.skip == "method bnb-nf4: for a test; instead: something else"
    assert not build.refused
    assert cell(plan, "nf4/perplexity").skip == build.skip


@pytest.mark.parametrize("sizes", [{"num_hidden_layers": -5}, {"hidden_size": "x"}, {}])
def test_a_config_without_sizes_is_planned_all_the_same(
    tmp_path: Path, sizes: dict[str, Any]
) -> None:
    made = checkpoint(tmp_path / "model", {"model_type": "odd", **sizes}, LAYERS)
    plan = planned(made, {"full": ("transformers", "")}, 1e12)
    assert cell(plan, "full/perplexity").prediction.memory > 0
    assert plan.cells[0].key == CellKey(variant="full", stage="build")


def test_a_timing_that_no_prompt_leaves_room_for_is_refused(tmp_path: Path) -> None:
    small = checkpoint(
        tmp_path / "model", LLAMA | {"max_position_embeddings": 24}, LAYERS | EMBEDDING
    )
    ScriptedModel().save(small.path)  # whose tokenizer is one of bytes
    variants = {"full": {"engine": "transformers"}}
    spec = load_study({"model": "m", "variants": variants, "tasks": []})
    with pytest.raises(UsageError, match="the model takes 24 tokens in all"):
        make_plan(spec, small, {}, tmp_path / "artifacts")
