"""What a study will cost, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scripted_models import humaneval_model

from weightcut.errors import UsageError
from weightcut.hardware.probe import machine
from weightcut.models.resolve import resolve
from weightcut.records import Named, Step
from weightcut.study.build import build_artifact, fitted
from weightcut.study.plan import Plan, make_plan
from weightcut.study.spec import load_study

CHAIN = {
    "one": "scripted-shrink(size=0.5)",
    "two": "scripted-shrink(size=0.5) | scripted-shrink(speedup=2)",
    "three": "scripted-shrink(size=0.5) | scripted-shrink(speedup=3)",
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return _plan(tmp_path)


def _plan(folder: Path) -> Plan:
    model = humaneval_model(folder / "model")
    variants = {name: {"engine": "scripted", "recipe": text} for name, text in CHAIN.items()}
    full = {"full": {"engine": "scripted", "recipe": []}}
    spec = load_study({"model": str(model), "variants": full | variants})
    return make_plan(spec, resolve(spec.model), machine(), folder / "artifacts")


def test_a_common_beginning_of_two_recipes_is_counted_once(plan: Plan) -> None:
    builds = {c.key.variant: c.prediction.seconds for c in plan.cells if c.key.stage == "build"}
    assert builds["one"] > builds["full"]
    assert builds["two"] == builds["three"] == builds["one"]


def test_what_was_made_before_costs_nothing_again(tmp_path: Path) -> None:
    before = _plan(tmp_path)
    assert [c.cached for c in before.cells if c.key.stage == "build"] == [True, False, False, False]
    spec = load_study(
        {
            "model": str(tmp_path / "model"),
            "variants": {"two": {"engine": "scripted", "recipe": CHAIN["two"]}},
        }
    )
    checkpoint = resolve(spec.model)
    steps = fitted(spec.variants[0].recipe, checkpoint.format, spec.variants[0].engine)
    build_artifact(checkpoint, steps, tmp_path / "artifacts")
    after = {c.key.variant: c for c in _plan(tmp_path).cells if c.key.stage == "build"}
    assert [after[n].cached for n in ("full", "one", "two", "three")] == [True, True, True, False]
    assert after["two"].prediction.seconds < after["three"].prediction.seconds


def test_a_state_dict_that_must_be_converted_first_says_how() -> None:
    transformers, openvino = Named(kind="transformers"), Named(kind="openvino")
    assert fitted((), "torch", transformers) == ()
    for steps, engine in (((), openvino), ((Step(kind="int8"),), transformers)):
        with pytest.raises(UsageError, match="torch state dict") as raised:
            fitted(steps, "torch", engine)
        assert "save_pretrained" in raised.value.cure
