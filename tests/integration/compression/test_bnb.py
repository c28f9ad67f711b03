from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.families import FAMILIES, make_family
from tests.integration.compression.quantized import (
    compress,
    evaluation_text,
    loss,
    loss_elsewhere,
    opened,
    short_text,
    stored,
)

from weightcut.compression import bnb
from weightcut.compression.bnb_fp4 import BnbFP4
from weightcut.compression.bnb_int8 import BnbInt8
from weightcut.compression.bnb_nf4 import BnbNF4
from weightcut.compression.method import Method
from weightcut.engines.bnb_prompts import unpack_for_prompts
from weightcut.errors import UsageError
from weightcut.records import Request

METHODS = (BnbNF4, BnbFP4, BnbInt8)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_a_method(method):
    assert isinstance(method(), Method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_quantized_saved_and_opened(family, method, tmp_path):
    source = make_family(family, tmp_path / "source")
    record = compress(method(), source, tmp_path / "out")
    assert record["quantized_layers"] > 0
    # A width of 96 is no multiple of the block of 64.
    assert bool(record["unquantized_layers"]) == (family == "qwen2" and method.bits == 4)
    assert record["bytes_by_part"]["layers"] > 0
    ids = short_text(source)
    with opened(source) as full, opened(tmp_path / "out") as small:
        lost = loss(small, ids) - loss(full, ids)
        (done,) = small.generate([Request(id="r", prompt="", prompt_ids=tuple(ids[0]))])
        assert small.describe()["quantization"] == "bitsandbytes"
    assert done.token_ids
    assert 0 < abs(lost) < (1 if method.bits == 4 else 0.1)


def test_int8_weights_are_int8_and_keep_their_threshold(tmp_path):
    source = make_family("llama-untied", tmp_path / "source")
    record = compress(BnbInt8(threshold=3.0), source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert config["load_in_8bit"] is True
    assert record["threshold"] == config["llm_int8_threshold"] == 3.0
    kinds = {name: str(tensor.dtype) for name, tensor in stored(tmp_path / "out").items()}
    assert sum(kind == "torch.int8" for kind in kinds.values()) == 4 * 7
    assert kinds["model.layers.0.mlp.up_proj.weight"] == "torch.int8"
    assert kinds["model.layers.0.mlp.up_proj.SCB"] == "torch.float32"
    assert kinds["lm_head.weight"] == kinds["model.embed_tokens.weight"] == "torch.bfloat16"
    with opened(tmp_path / "out") as session:
        layer = session._model.model.layers[0].mlp.up_proj
        assert layer.state.threshold == 3.0


@pytest.mark.parametrize(("method", "levels"), [(BnbNF4, "nf4"), (BnbFP4, "fp4")])
def test_four_bits_are_of_the_kind_that_the_name_says(method, levels, tmp_path):
    source = make_family("llama-tied", tmp_path / "source")
    compress(method(double_quant=False), source, tmp_path / "out")
    found = stored(tmp_path / "out")
    weight = "model.layers.0.mlp.up_proj.weight"
    assert str(found[weight].dtype) == "torch.uint8"
    assert found[weight].numel() == 64 * 128 / 2
    assert f"{weight}.quant_state.bitsandbytes__{levels}" in found
    assert f"{weight}.nested_absmax" not in found


def test_quantizing_twice_is_refused(tmp_path):
    source = make_family("llama-tied", tmp_path / "source")
    compress(BnbNF4(), source, tmp_path / "once")
    with pytest.raises(UsageError, match="quantized already"):
        compress(BnbInt8(), tmp_path / "once", tmp_path / "twice")


@pytest.mark.model
def test_the_bundled_model_survives_save_and_reload_in_a_fresh_process(tmp_path):
    from weightcut.models.resolve import resolve

    source = resolve("smollm2-135m").path
    ids = evaluation_text(source)
    four, eight = (compress(m(), source, tmp_path / m.__name__) for m in (BnbNF4, BnbInt8))
    assert four["quantized_layers"] == eight["quantized_layers"] == 30 * 7
    # 4 bits, and with double quantization 0.127 bit for the scales, instead of 16.
    assert four["bytes_by_part"]["layers"] == pytest.approx(106_168_320 * (4 + 0.127) / 8, rel=0.02)
    assert eight["bytes_by_part"]["layers"] == pytest.approx(106_168_320, rel=0.02)
    assert four["bytes_by_part"]["embedding"] == 49152 * 576 * 2
    before = loss_in_memory(source, ids)
    assert np.exp(loss_elsewhere(tmp_path / "BnbNF4", ids)) == pytest.approx(
        np.exp(before), rel=1e-3
    )


def loss_in_memory(source: Path, ids: list[list[int]]) -> float:
    """The loss right after quantization to NF4, without a file in between."""
    import torch

    model = bnb.quantize(
        source,
        None,
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    unpack_for_prompts(model)  # the arithmetic of the engine
    rows = torch.tensor(ids)
    with torch.inference_mode():
        logprobs = model(rows).logits[:, :-1].float().log_softmax(-1)
    return -float(logprobs.gather(2, rows[:, 1:, None]).mean())
