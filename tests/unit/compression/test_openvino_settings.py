from __future__ import annotations

import pytest
from pydantic import ValidationError

from weightcut.compression.export_openvino import ExportOpenVINO
from weightcut.compression.int4 import Int4
from weightcut.compression.int8 import Int8
from weightcut.compression.method import Method
from weightcut.compression.nncf_weights import _layer_name, _natural


@pytest.mark.parametrize("method", [ExportOpenVINO(), Int8(), Int4()])
def test_they_are_methods_that_chain(method: Method) -> None:
    assert isinstance(method, Method)
    assert method.produces == "openvino"
    assert method.requirements().packages


@pytest.mark.parametrize(
    "wrong", [{"ratio": 0}, {"ratio": 1.1}, {"group_size": 1}, {"mode": "int4"}, {"rank": 3}]
)
def test_int4_refuses_what_makes_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Int4.model_validate(wrong)


def test_data_costs_time() -> None:
    plain = Int4(awq=False, scale_estimation=False)
    assert plain.requirements().seconds_per_weight < Int4().requirements().seconds_per_weight


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        (
            "__module.model.model.layers.10.self_attn.q_proj/ov_ext::linear/MatMul",
            "layers.10.self_attn.q_proj",
        ),
        ("__module.model.transformer.h.0.attn.c_attn/ov_ext::conv1d/MatMul", "h.0.attn.c_attn"),
        ("aten::to/Convert", "output"),
    ],
)
def test_layers_are_named_as_in_the_checkpoint(node: str, layer: str) -> None:
    assert _layer_name(node) == layer


def test_layers_are_sorted_by_number() -> None:
    names = ["layers.10.x", "layers.2.x", "embed_tokens"]
    assert sorted(names, key=_natural) == ["embed_tokens", "layers.2.x", "layers.10.x"]
