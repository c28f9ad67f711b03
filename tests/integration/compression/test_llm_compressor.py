from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import make_family
from tests.integration.compression.quantized import (
    compress,
    evaluation_text,
    loss_elsewhere,
    loss_of,
    opened,
    short_text,
    stored,
)

from weightcut.compression.awq import AWQ
from weightcut.compression.gptq import GPTQ
from weightcut.compression.method import Method
from weightcut.compression.rtn import RTN
from weightcut.compression.smoothquant import SmoothQuant
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.records import Request

pytest.importorskip("llmcompressor", reason="llmcompressor is not installed (extra compress)")

SHORT: dict[str, Any] = {"windows": 4, "length": 64}
METHODS = {
    "gptq": GPTQ(**SHORT),
    "awq": AWQ(**SHORT),
    "smoothquant": SmoothQuant(**SHORT),
    "rtn": RTN(),
}
Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_family("llama-tied", tmp_path_factory.mktemp("llama") / "model")


@pytest.mark.parametrize("name", METHODS)
def test_it_is_a_method(name):
    assert isinstance(METHODS[name], Method)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ["llama-tied", "qwen2", "gemma3"])
def test_families_are_quantized_saved_and_opened(family, name, tmp_path, capfd):
    source = make_family(family, tmp_path / "source")
    before = logits(source)
    capfd.readouterr()
    record = compress(METHODS[name], source, tmp_path / "out")
    assert capfd.readouterr().out == ""  # its log would spoil `--json`
    assert sum(map(len, record["weights"].values())) == (42 if family == "gemma3" else 28)
    with opened(tmp_path / "out") as session:
        assert session.describe()["quantization"] == "compressed-tensors"
        (done,) = session.generate(
            [Request(id="r", prompt="", prompt_ids=tuple(short_text(source)[0]))]
        )
    assert done.token_ids
    after = logits(tmp_path / "out")
    kl = float((before.exp() * (before - after)).sum(-1).mean())
    assert 0 < kl < (0.05 if METHODS[name].bits == 8 else 1.0)
    config = json.loads((source / "config.json").read_text())
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {**config, "transformers_version": 0}.items() <= {
        **written, "transformers_version": 0,
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("name", "bits"), [("gptq", 4), ("awq", 4), ("rtn", 4), ("smoothquant", 8)]
)
def test_the_bits_are_on_disk(name, bits, llama, tmp_path):
    record = compress(METHODS[name], llama, tmp_path / "out")
    found = stored(tmp_path / "out")
    if bits == 4:
        packed = found[f"{UP}.weight_packed"]
        assert packed.nbytes == 128 * 64 // 2
        assert found[f"{UP}.weight_scale"].shape == (128, 1)
        assert found["model.layers.0.mlp.down_proj.weight_scale"].shape == (64, 1)
    else:
        assert str(found[f"{UP}.weight"].dtype) == "torch.int8"
        assert found[f"{UP}.weight_scale"].shape == (128, 1)
    assert str(found["model.embed_tokens.weight"].dtype) == "torch.bfloat16"
    assert "lm_head.weight" not in found
    weights, scales = 4 * 36_864, 4 * 640  # of the linear layers, and their rows
    assert record["bytes_by_part"]["layers"] == pytest.approx(
        weights * bits / 8 + scales * 2, rel=0.1
    )


def test_each_layer_has_the_largest_group_that_divides(tmp_path):
    source = make_family("qwen2", tmp_path / "source")  # a width of 96, an inner one of 192
    record = compress(RTN(group_size=128), source, tmp_path / "out")
    assert set(record["weights"]) == {"int4 group 32", "int4 group 64"}
    assert Q in record["weights"]["int4 group 32"]
    found = stored(tmp_path / "out")
    assert found[f"{Q}.weight_scale"].shape == (96, 3)
    assert found["model.layers.0.mlp.down_proj.weight_scale"].shape == (96, 3)


@pytest.mark.parametrize("method", [RTN(group_size=80), GPTQ(group_size=80, **SHORT)])
def test_a_group_that_never_divides_falls_back_to_rows_and_is_recorded(method, llama, tmp_path):
    record = compress(method, llama, tmp_path / "out")  # of 80, 40 and 20 none divides 64 or 128
    assert set(record["weights"]) == {"int4"}
    assert stored(tmp_path / "out")[f"{UP}.weight_scale"].shape == (128, 1)
    assert np.isfinite(loss_of(tmp_path / "out", short_text(llama)))


def test_rounding_is_to_the_nearest_level(llama, tmp_path):
    import torch

    compress(RTN(bits=8, group_size=64), llama, tmp_path / "out")
    original = stored(llama)[f"{UP}.weight"].float()
    with opened(tmp_path / "out") as session:
        rounded = session._model.get_submodule(UP).weight.float()
    step = stored(tmp_path / "out")[f"{UP}.weight_scale"].float()
    assert torch.all((rounded - original).abs() <= 0.51 * step + 2**-7 * original.abs())
    assert not torch.equal(rounded, original)


def test_gptq_changes_outputs_less_than_rounding(llama, tmp_path):
    import torch

    compress(GPTQ(windows=16, length=64), llama, tmp_path / "gptq")
    compress(RTN(), llama, tmp_path / "rtn")
    seen: list[Any] = []
    with opened(llama) as session, torch.inference_mode():
        layer = session._model.get_submodule(Q)
        layer.register_forward_hook(lambda _module, given, _output: seen.append(given[0]))
        session._model(torch.tensor(evaluation_text(llama, 16, 64)))
        exact, inputs = layer.weight, torch.cat(seen).flatten(0, 1).float()
    error = {}
    for name in ("gptq", "rtn"):
        with opened(tmp_path / name) as session, torch.inference_mode():
            lost = (session._model.get_submodule(Q).weight - exact).float()
            error[name] = float((inputs @ lost.T).norm())
    assert error["gptq"] < 0.95 * error["rtn"]


def test_layers_whose_hessian_cannot_be_inverted_are_named(llama, tmp_path):
    # Eight tokens span eight of 64 dimensions, and such a dampening is lost in rounding.
    record = compress(GPTQ(windows=1, length=8, dampening=1e-20), llama, tmp_path / "few")
    assert UP in record["rounded_plainly"]
    assert compress(METHODS["gptq"], llama, tmp_path / "enough")["rounded_plainly"] == []


def test_smoothquant_rounds_inputs_as_it_runs_and_weight_only_methods_do_not(llama, tmp_path):
    compress(METHODS["smoothquant"], llama, tmp_path / "w8a8")
    compress(METHODS["rtn"], llama, tmp_path / "w4a16")
    inputs = short_random()
    with opened(tmp_path / "w8a8") as session:
        layer = session._model.get_submodule(UP)
        plain = inputs @ layer.weight.T
        assert not bool((layer(inputs) == plain).all())
    with opened(tmp_path / "w4a16") as session:
        layer = session._model.get_submodule(UP)
        assert bool((layer(inputs) == inputs @ layer.weight.T).all())


@pytest.mark.parametrize("name", ["awq", "smoothquant"])
def test_a_scaling_that_would_change_the_model_is_refused(name, tmp_path):
    # Phi feeds one norm to attention and to its MLP; the library knows of the first alone.
    source = make_family("phi", tmp_path / "source")
    with pytest.raises(NotHere, match="phi model") as caught:
        compress(METHODS[name], source, tmp_path / "out")
    assert "gptq" in caught.value.cure


@pytest.mark.parametrize("name", METHODS)
def test_nan_in_weights_is_named(name, llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(llama, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    tensors[f"{UP}.weight"][3, 5] = float("nan")
    tensors[f"{UP}.weight"][4, 5] = float("-inf")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenInput, match=rf"'{UP}\.weight' is NaN or infinite in 2 of"):
        compress(METHODS[name], folder, tmp_path / "out")


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_type_of_model_is_refused_save_by_rounding(name, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "no-such-type"}
    (folder / "config.json").write_text(json.dumps(config))
    if name == "rtn":
        record = compress(RTN(), folder, tmp_path / "out")
        assert sum(map(len, record["weights"].values())) == 28
        return
    with pytest.raises(NotHere, match="'no-such-type'") as caught:
        compress(METHODS[name], folder, tmp_path / "out")
    assert "rtn still applies" in caught.value.cure


@pytest.mark.parametrize("name", METHODS)
def test_weights_that_are_quantized_already_are_refused(name, llama, tmp_path):
    compress(RTN(), llama, tmp_path / "once")
    with pytest.raises(UsageError, match="quantized already"):
        compress(METHODS[name], tmp_path / "once", tmp_path / "twice")


def test_more_calibration_text_than_there_is_is_refused(llama, tmp_path):
    with pytest.raises(UsageError, match="windows of 512 tokens, 1000000 are asked for"):
        compress(GPTQ(windows=1_000_000, length=4096), llama, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"config_groups": {}}, "loaded"),
        ({"config_groups": {"a": 5}}, "config_groups"),
        ({"config_groups": {"a": {"targets": ["re:("], "weights": {"num_bits": 4}}}}, "subpattern"),
        (
            {"config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 99}}}},
            "cannot be loaded",
        ),
    ],
)
def test_a_hostile_quantization_config_is_told_plainly(change, says, llama, tmp_path):
    compress(RTN(), llama, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["quantization_config"] |= change
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BrokenInput, match=says):
        opened(tmp_path / "out")


def test_rounding_streams_into_shards(llama, tmp_path, monkeypatch):
    from weightcut.compression import shards

    compress(RTN(), llama, tmp_path / "whole")
    monkeypatch.setattr(shards, "SHARD", 20_000)
    compress(RTN(), llama, tmp_path / "cut")
    files = sorted((tmp_path / "cut").glob("*.safetensors"))
    assert len(files) == 5
    index = json.loads((tmp_path / "cut" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == set(stored(tmp_path / "whole"))
    ids = short_text(llama)
    assert loss_of(tmp_path / "cut", ids) == loss_of(tmp_path / "whole", ids)


def logits(folder: Path) -> Any:
    """Log-probabilities for a fixed window."""
    import torch

    with opened(folder) as session, torch.inference_mode():
        ids = torch.arange(64)[None] * 7 % 500 + 8
        return session._model(ids).logits[0].float().log_softmax(-1)


def short_random() -> Any:
    import torch

    return torch.randn(3, 64, generator=torch.Generator().manual_seed(0)).bfloat16()


@pytest.mark.model
def test_the_bundled_model_survives_save_and_reload_in_a_fresh_process(tmp_path):
    from weightcut.models.resolve import resolve

    source = resolve("smollm2-135m").path
    record = compress(RTN(), source, tmp_path / "out")
    # 576 and 1536 inputs: groups of 64 and, for the layers on the inner width, of 128.
    assert {kind: len(names) for kind, names in record["weights"].items()} == {
        "int4 group 64": 30 * 6, "int4 group 128": 30,
    }  # fmt: skip
    assert record["bytes_by_part"]["layers"] == pytest.approx(
        106_168_320 * (4 + 16 / 64) / 8, rel=0.02
    )
    ids = evaluation_text(source)
    here, there = loss_of(tmp_path / "out", ids), loss_elsewhere(tmp_path / "out", ids)
    assert np.exp(there) == pytest.approx(np.exp(here), rel=1e-3)
    assert np.exp(here) < 1.5 * np.exp(loss_of(source, ids))
