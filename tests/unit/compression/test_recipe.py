"""Recipes: parsing, validation, conversions put in."""

from __future__ import annotations

from typing import Any

import pytest

from weightcut.compression import recipe
from weightcut.errors import UsageError
from weightcut.records import Step


def test_a_recipe_is_parsed_with_yaml_values() -> None:
    steps = recipe.parse_recipe("prune-depth(0.2) | int4(awq=false, scale_estimation=false) | int8")
    assert [s.kind for s in steps] == ["prune-depth", "int4", "int8"]
    assert steps[0].settings == {"ratio": 0.2}


def test_the_empty_recipe_has_no_steps() -> None:
    assert recipe.parse_recipe(" ") == ()


def test_only_settings_other_than_the_defaults_are_kept() -> None:
    default = recipe.build(Step(kind="prune-depth")).ratio  # type: ignore[attr-defined]
    assert recipe.step("prune-depth", {"ratio": default}).settings == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("int9", "did you mean 'int"),
        ("prune-depth(rato=0.2)", "no setting 'rato'; did you mean 'ratio'"),
        ("prune-depth(ratio=x)", "setting 'ratio'"),
        ("prune-depth(ratio=7)", "setting 'ratio'"),
        ("int8(", "cannot read"),
        ("| int8", "cannot read"),
        ("int8(mode=2024-13-45)", "cannot read 'mode=2024-13-45'"),
    ],
)
def test_a_wrong_recipe_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        recipe.parse_recipe(text)


def test_conversions_are_put_in() -> None:
    steps = recipe.fit(recipe.parse_recipe("prune-depth | int8"), "hf", frozenset({"openvino"}))
    assert [s.kind for s in steps] == ["prune-depth", "export-openvino", "int8"]
    assert [s.kind for s in recipe.fit((), "hf", frozenset({"openvino"}))] == ["export-openvino"]
    assert recipe.fit((), "hf", frozenset({"hf"})) == ()


def test_steps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="step 2, prune-depth"):
        recipe.fit(recipe.parse_recipe("int8 | prune-depth"), "hf", frozenset({"openvino"}))
    with pytest.raises(UsageError, match="the engine, which opens hf"):
        recipe.fit(recipe.parse_recipe("int8"), "hf", frozenset({"hf"}))


@pytest.mark.parametrize("text", ["bnb-nf4 | gptq", "rtn(bits=8) | prune-depth | rtn"])
def test_nothing_follows_quantized_weights(text: str) -> None:
    with pytest.raises(UsageError, match="works on 16-bit weights"):
        recipe.fit(recipe.parse_recipe(text), "hf", frozenset({"hf"}))
    with pytest.raises(UsageError, match="export-openvino works on 16-bit weights"):
        recipe.fit(recipe.parse_recipe("gptq"), "hf", frozenset({"openvino"}))


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        ("int8 | int4", "openvino"),
        ("onnx-int8 | onnx-int4", "onnx"),
        ("gguf-q8_0 | gguf-q4_k_m", "gguf"),
    ],
)
def test_weights_are_not_quantized_twice(text: str, opens: Any) -> None:
    with pytest.raises(UsageError, match="works on 16-bit weights") as caught:
        recipe.fit(recipe.parse_recipe(text), "hf", frozenset({opens}))
    assert "leave one of the two out" in caught.value.cure


def test_quantized_weights_may_end_a_recipe() -> None:
    steps = recipe.fit(recipe.parse_recipe("wanda | gptq"), "hf", frozenset({"hf"}))
    assert [s.kind for s in steps] == ["wanda", "gptq"]


@pytest.mark.parametrize("kind", ["magnitude", "wanda", "sparsegpt"])
def test_a_pattern_may_be_written_without_quotes(kind: str) -> None:
    (step,) = recipe.parse_recipe(f"{kind}(pattern=2:4)")
    assert step.settings == {"pattern": "2:4"}
    with pytest.raises(UsageError, match="leaves half of the weights"):
        recipe.parse_recipe(f"{kind}(pattern=4:8, sparsity=0.3)")
    with pytest.raises(UsageError, match="pattern"):
        recipe.parse_recipe(f"{kind}(pattern=3:4)")


def test_bits_are_those_of_the_last_quantization() -> None:
    assert recipe.bits(recipe.parse_recipe("prune-depth | int8")) == 8
    assert recipe.bits(recipe.parse_recipe("prune-depth")) is None
