from __future__ import annotations

import json
import pickle
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

from weightcut.compression.method import Method
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models.torch_state import read_state
from weightcut.records import Request

pytest.importorskip("torchao", reason="torchao is not installed (extra compress)")

from weightcut.compression.torchao_int4 import TorchaoInt4
from weightcut.compression.torchao_int8 import TorchaoInt8
from weightcut.compression.torchao_int8_dynamic import TorchaoInt8Dynamic

METHODS = (TorchaoInt8, TorchaoInt8Dynamic, TorchaoInt4)
UP = "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_family("llama-tied", tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def int4(llama, tmp_path_factory):
    out = tmp_path_factory.mktemp("int4") / "out"
    compress(TorchaoInt4(), llama, out)
    return out


@pytest.mark.parametrize("method", METHODS)
def test_it_is_a_method(method):
    assert isinstance(method(), Method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llama-untied", "qwen2", "phi"])
def test_families_are_quantized_saved_and_opened(family, method, tmp_path):
    source = make_family(family, tmp_path / "source")
    compress(method(), source, tmp_path / "out")
    ids = short_text(source)
    lost = loss_of(tmp_path / "out", ids, method.produces) - loss_of(source, ids)
    assert 0 < abs(lost) < (1 if method.bits == 4 else 0.1)
    with opened(tmp_path / "out", method.produces) as session:
        (done,) = session.generate([Request(id="r", prompt="", prompt_ids=tuple(ids[0]))])
        assert session.describe()["quantization"] in ("torchao", "int4-groups")
    assert done.token_ids


@pytest.mark.parametrize("method", [TorchaoInt8, TorchaoInt8Dynamic])
def test_eight_bits_are_on_disk_and_only_the_dynamic_one_rounds_inputs(method, llama, tmp_path):
    compress(method(), llama, tmp_path / "out")
    found = stored(tmp_path / "out")
    codes = {name: value for name, value in found.items() if name.endswith("._weight_qdata")}
    assert len(codes) == 4 * 7
    assert {str(value.dtype) for value in codes.values()} == {"torch.int8"}
    assert codes[f"{UP}._weight_qdata"].shape == (128, 64)
    assert str(found["model.embed_tokens.weight"].dtype) == "torch.bfloat16"
    with opened(tmp_path / "out") as session:
        weight = session._model.get_submodule(UP).weight
    assert (weight.act_quant_kwargs is not None) == (method is TorchaoInt8Dynamic)


def test_four_bits_are_on_disk_and_decode_to_what_the_kernel_computes(llama, int4):
    import torch

    state = read_state(int4)
    packed, scale, zero = (state[f"{UP}.weight.{part}"] for part in ("int4", "scale", "zero"))
    assert packed.dtype == torch.uint8
    assert packed.shape == (128, 64 // 2)
    assert "lm_head.weight" not in state  # tied, and stored once
    codes = torch.stack((packed >> 4, packed & 15), dim=-1).reshape(128, 1, 64)
    decoded = ((codes - 8.0) * scale[..., None] + zero[..., None]).reshape(128, 64)
    original = stored(llama)[f"{UP}.weight"].float()
    # A group of 64 normal weights spans about five standard deviations, in 15 steps.
    assert float((decoded - original).abs().max()) < 0.3 * float(original.std())
    with opened(int4, "torch") as session, torch.inference_mode():
        layer = session._model.get_submodule(UP)
        inputs = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
        computed = layer(inputs.bfloat16()).float()
    torch.testing.assert_close(computed, inputs @ decoded.T, rtol=0.02, atol=0.02)


def test_group_sizes_that_do_not_divide_are_halved_or_given_up(tmp_path):
    source = make_family("qwen2", tmp_path / "source")  # a width of 96, an inner one of 192
    record = compress(TorchaoInt4(group_size=128), source, tmp_path / "out")
    assert record["group_sizes"][UP] == 32
    assert record["group_sizes"]["model.layers.0.mlp.down_proj"] == 64
    assert record["unquantized_layers"] == []


def test_hqq_scales_are_better_than_the_range_alone(llama, int4, tmp_path):
    compress(TorchaoInt4(scales="minmax"), llama, tmp_path / "minmax")
    original = stored(llama)[f"{UP}.weight"].float()

    def error(folder: Path) -> float:
        state = read_state(folder)
        packed, scale, zero = (state[f"{UP}.weight.{p}"] for p in ("int4", "scale", "zero"))
        high, low = (packed >> 4).float(), (packed & 15).float()
        codes = np.stack((high.numpy(), low.numpy()), axis=-1).reshape(128, 64)
        decoded = (codes - 8) * scale.float().numpy() + zero.float().numpy()
        return float(np.abs(decoded - original.numpy()).mean())

    assert error(int4) < error(tmp_path / "minmax")


def test_a_state_dict_is_not_quantized_again(int4, tmp_path):
    with pytest.raises(UsageError, match="quantized already"):
        compress(TorchaoInt8(), int4, tmp_path / "out")


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(writer, int4, tmp_path):
    import torch

    folder = shutil.copytree(int4, tmp_path / "evil")
    file, mark = folder / "pytorch_model.bin", tmp_path / "mark"
    if writer == "torch":
        torch.save({"weight": Payload(mark)}, file)
    else:
        file.write_bytes(pickle.dumps({"weight": Payload(mark)}))
    with pytest.raises(BrokenInput, match=r"pytorch_model\.bin"):
        opened(folder, "torch")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "no intact torch state dict"),
        (lambda file: file.write_bytes(b""), "no intact torch state dict"),
        (lambda file: file.unlink(), "no file named"),
        (lambda file: rewrite(file, list), "no state dict"),
        (lambda file: rewrite(file, lambda state: state | {"note": "text"}), "no state dict"),
        (lambda file: rewrite(file, lambda state: without(state, f"{UP}.weight.int4")), "lack"),
        (lambda file: rewrite(file, lambda state: without(state, "model.norm.weight")), "lack"),
        (lambda file: rewrite(file, lambda state: state | {"x": state["model.norm.weight"]}), "x"),
        (lambda file: rewrite(file, lambda state: half(state, f"{UP}.weight.int4")), "do not fit"),
        (lambda file: rewrite(file, lambda state: half(state, "model.norm.weight")), "do not fit"),
    ],
)
def test_a_damaged_state_dict_is_told_plainly(spoil, says, int4, tmp_path):
    folder = shutil.copytree(int4, tmp_path / "bad")
    spoil(folder / "pytorch_model.bin")
    with pytest.raises(BrokenInput, match=says):
        opened(folder, "torch")


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ({UP: 48}, "group_sizes"),
        ([UP], "group_sizes"),
        ({"model.norm": 64}, "no linear layer 'model.norm'"),
        ({UP: 128}, "do not fit"),
    ],
)
def test_a_config_that_does_not_fit_the_state_is_told_plainly(groups, says, int4, tmp_path):
    folder = shutil.copytree(int4, tmp_path / "bad")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["group_sizes"] = groups
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BrokenInput, match=says):
        opened(folder, "torch")


def test_a_family_without_linear_layers_is_refused(tmp_path):
    source = make_family("gpt2", tmp_path / "source")
    with pytest.raises(NotHere, match="no linear layers") as caught:
        compress(TorchaoInt4(), source, tmp_path / "out")
    assert "magnitude" in caught.value.cure


def rewrite(file: Path, change: Any) -> None:
    import torch

    torch.save(change(torch.load(file, weights_only=True)), file)


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def half(state: dict[str, Any], name: str) -> dict[str, Any]:
    return state | {name: state[name][: len(state[name]) // 2].clone()}


@pytest.mark.model
def test_the_bundled_model_survives_save_and_reload_in_a_fresh_process(tmp_path):
    from weightcut.models.resolve import resolve

    source = resolve("smollm2-135m").path
    record = compress(TorchaoInt4(scales="minmax"), source, tmp_path / "int4")
    assert record["bytes_by_part"]["layers"] == pytest.approx(
        106_168_320 * (4 + 2 * 16 / 64) / 8, rel=0.02
    )
    ids = evaluation_text(source)
    here = loss_of(tmp_path / "int4", ids, "torch")
    there = loss_elsewhere(tmp_path / "int4", ids, "torch")
    assert np.exp(there) == pytest.approx(np.exp(here), rel=1e-3)
    assert np.exp(here) < 1.5 * np.exp(loss_of(source, ids))
