from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pytest
from tests.families import make_family
from tests.integration.compression.quantized import (
    compress,
    evaluation_text,
    loss_elsewhere,
    loss_of,
    short_text,
    stored,
)

from weightcut.compression.magnitude import Magnitude
from weightcut.compression.method import Method
from weightcut.compression.sparsegpt import SparseGPT
from weightcut.compression.wanda import Wanda
from weightcut.errors import NotHere, UsageError

pytest.importorskip("compressed_tensors", reason="llmcompressor is not installed (extra compress)")

METHODS = {"magnitude": Magnitude, "wanda": Wanda, "sparsegpt": SparseGPT}
UP = "model.layers.0.mlp.up_proj.weight"


def method(name: str, **settings: Any) -> Any:
    short = {} if name == "magnitude" else {"windows": 4, "length": 64}
    return METHODS[name](**short, **settings)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_family("llama-untied", tmp_path_factory.mktemp("llama") / "model")


@pytest.mark.parametrize("name", METHODS)
def test_it_is_a_method(name):
    assert isinstance(method(name), Method)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.7])
@pytest.mark.parametrize("name", METHODS)
def test_the_share_of_zeros_is_the_one_asked_for_in_the_layers_alone(
    name, sparsity, llama, tmp_path
):
    record = compress(method(name, sparsity=sparsity), llama, tmp_path / "out")
    before, after = stored(llama), stored(tmp_path / "out")
    assert before.keys() == after.keys()
    for weight, value in after.items():
        if "_proj." in weight:
            share = float((value == 0).float().mean())
            assert share == pytest.approx(sparsity, abs=1 / 64)
            assert record["zeros_by_layer"][weight.removesuffix(".weight")] == share
        else:
            assert value.equal(before[weight]), weight
    assert len(record["zeros_by_layer"]) == 4 * 7
    assert record["bytes_by_part"]["layers"] == sum(
        v.nbytes for k, v in before.items() if ".layers." in k
    )
    assert np.isfinite(loss_of(tmp_path / "out", short_text(llama)))


@pytest.mark.parametrize(("pattern", "left", "of"), [("2:4", 2, 4), ("4:8", 4, 8)])
@pytest.mark.parametrize("name", METHODS)
def test_a_pattern_holds_in_every_group_of_inputs(name, pattern, left, of, llama, tmp_path):
    compress(method(name, pattern=pattern), llama, tmp_path / "out")
    for weight, value in stored(tmp_path / "out").items():
        if "_proj." in weight:
            assert int((value != 0).reshape(-1, of).sum(1).max()) == left


def test_magnitude_takes_the_smallest_and_leaves_the_others_as_they_were(llama, tmp_path):
    compress(Magnitude(sparsity=0.4), llama, tmp_path / "out")
    before, after = stored(llama)[UP], stored(tmp_path / "out")[UP]
    gone = after == 0
    assert float(before[gone].abs().max()) <= float(before[~gone].abs().min())
    assert bool((before[~gone] == after[~gone]).all())


def test_wanda_weighs_by_its_inputs_and_changes_no_weight_that_stays(llama, tmp_path):
    compress(method("wanda"), llama, tmp_path / "wanda")
    compress(method("magnitude"), llama, tmp_path / "magnitude")
    before, after = stored(llama)[UP], stored(tmp_path / "wanda")[UP]
    gone = after == 0
    assert bool((before[~gone] == after[~gone]).all())
    assert bool((gone.sum(1) == 32).all())  # row by row
    assert not gone.equal(stored(tmp_path / "magnitude")[UP] == 0)


def test_sparsegpt_mends_the_weights_that_stay(llama, tmp_path):
    compress(method("sparsegpt"), llama, tmp_path / "out")
    before, after = stored(llama)[UP], stored(tmp_path / "out")[UP]
    stays = after != 0
    assert float((before[stays] != after[stays]).float().mean()) > 0.5


def test_magnitude_knows_which_way_round_gpt2_keeps_its_weights(tmp_path):
    source = make_family("gpt2", tmp_path / "source")
    record = compress(Magnitude(pattern="2:4"), source, tmp_path / "out")
    assert len(record["zeros_by_layer"]) == 4 * 4
    weight = stored(tmp_path / "out")["transformer.h.0.mlp.c_fc.weight"]  # [inputs, outputs]
    assert int((weight.T != 0).reshape(-1, 4).sum(1).max()) == 2
    assert np.isfinite(loss_of(tmp_path / "out", short_text(source)))


@pytest.mark.parametrize("name", ["wanda", "sparsegpt"])
def test_a_family_that_cannot_be_pruned_names_those_methods_that_can(name, tmp_path):
    source = make_family("gpt2", tmp_path / "source")
    with pytest.raises(NotHere, match="no linear layers") as caught:
        compress(method(name), source, tmp_path / "out")
    assert "magnitude" in caught.value.cure


@pytest.mark.parametrize("name", METHODS)
def test_a_pattern_that_does_not_divide_is_refused(name, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    source = make_family("llama-tied", tmp_path / "source")
    config = json.loads((source / "config.json").read_text()) | {"intermediate_size": 126}
    LlamaForCausalLM(LlamaConfig(**config)).bfloat16().save_pretrained(source)
    with pytest.raises(UsageError, match=r"2:4 does not divide the 126 inputs of .*down_proj"):
        compress(method(name, pattern="2:4"), source, tmp_path / "out")


def test_weights_that_lie_beside_the_model_are_left_alone(llama, tmp_path):
    source = shutil.copytree(llama, tmp_path / "source")
    shutil.copyfile(source / "model.safetensors", source / "consolidated.safetensors")
    compress(Magnitude(), source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["model.safetensors"]


@pytest.mark.model
def test_the_bundled_model_survives_pruning_and_reload_in_a_fresh_process(tmp_path):
    from weightcut.models.resolve import resolve

    source = resolve("smollm2-135m").path
    record = compress(Magnitude(sparsity=0.2), source, tmp_path / "out")
    assert len(record["zeros_by_layer"]) == 30 * 7
    assert all(share == pytest.approx(0.2, abs=1e-5) for share in record["zeros_by_layer"].values())
    ids = evaluation_text(source)
    here, there = loss_of(tmp_path / "out", ids), loss_elsewhere(tmp_path / "out", ids)
    assert np.exp(there) == pytest.approx(np.exp(here), rel=1e-3)
    assert np.exp(here) < 1.5 * np.exp(loss_of(source, ids))
