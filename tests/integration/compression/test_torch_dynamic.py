from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import make_family
from tests.integration.compression.quantized import (
    compress,
    loss_elsewhere,
    loss_of,
    opened,
    short_text,
    stored,
)

from weightcut.compression.torch_dynamic import TorchDynamic
from weightcut.errors import BrokenInput, NotHere
from weightcut.models.folder import folder_checkpoint
from weightcut.models.torch_state import read_state

UP = "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module", params=["qwen2", "gemma3", "phi"])
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    source = make_family(request.param, folder / "source")
    compress(TorchDynamic(), source, folder / "out")
    return source, folder / "out"


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("qwen2")
    source = make_family("qwen2", folder / "source")
    compress(TorchDynamic(file="model.pt"), source, folder / "out")
    return source, folder / "out"


def test_weights_are_8_bit_codes_near_the_weights_that_they_were(qwen2: tuple[Path, Path]) -> None:
    source, out = qwen2
    state, before = read_state(out), stored(source)
    codes, scale = state[f"{UP}.weight.int8"], state[f"{UP}.weight.scale"]
    assert codes.dtype == torch.int8
    error = (codes.float() * scale[:, None] - before[f"{UP}.weight"].float()).abs()
    assert (error <= scale[:, None] * 0.501).all()
    assert (out / "model.pt").stat().st_size < 0.75 * (source / "model.safetensors").stat().st_size
    assert folder_checkpoint(out, "x", "y").format == "torch"


def test_the_model_answers_nearly_as_before_and_alike_in_a_process_of_its_own(
    made: tuple[Path, Path],
) -> None:
    source, out = made
    text = short_text(source)
    before, here = loss_of(source, text), loss_of(out, text, "torch")
    assert here == pytest.approx(before, rel=0.05)
    assert here != before
    assert loss_elsewhere(out, text, "torch") == pytest.approx(here, rel=1e-3)


def test_products_are_those_of_rounded_weights_and_activations(qwen2: tuple[Path, Path]) -> None:
    _, out = qwen2
    state = read_state(out)
    weight = state[f"{UP}.weight.int8"].float() * state[f"{UP}.weight.scale"][:, None]
    inputs = torch.randn(4, 96, generator=torch.Generator().manual_seed(0))
    with opened(out, "torch") as session:
        assert session.describe()["quantization"] == "int8-dynamic"
        computed = session._model.get_submodule(UP)(inputs).float()
    torch.testing.assert_close(computed, inputs @ weight.T, rtol=0.1, atol=0.1)


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run(
    qwen2: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    folder, mark = shutil.copytree(qwen2[1], tmp_path / "evil"), tmp_path / "mark"
    (folder / "model.pt").unlink()
    torch.save({"weight": Payload(mark)}, folder / name)
    for what in (lambda: opened(folder, "torch"), lambda: folder_checkpoint(folder, "x", "y")):
        with pytest.raises(BrokenInput, match="could run code"):
            what()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop(f"{UP}.weight.int8"), "lack"),
        (lambda state: state.update({f"{UP}.weight.scale": torch.ones(3)}), "do not fit"),
        (lambda state: state.update({f"{UP}.weight.int8": torch.ones(192, 96)}), "do not fit"),
    ],
)
def test_parts_that_do_not_fit_are_told(
    qwen2: tuple[Path, Path], tmp_path: Path, change: Any, says: str
) -> None:
    folder = shutil.copytree(qwen2[1], tmp_path / "bad")
    state = torch.load(folder / "model.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "model.pt")
    with pytest.raises(BrokenInput, match=says):
        opened(folder, "torch")


@pytest.mark.parametrize("layers", ["all", [UP, 3], ["model.norm"], ["no.such.layer"]])
def test_a_config_that_names_no_layers_is_told(
    qwen2: tuple[Path, Path], tmp_path: Path, layers: Any
) -> None:
    folder = shutil.copytree(qwen2[1], tmp_path / "bad")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["layers"] = layers
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BrokenInput):
        opened(folder, "torch")


def test_a_family_without_linear_layers_is_refused(tmp_path: Path) -> None:
    source = make_family("gpt2", tmp_path / "source")
    with pytest.raises(NotHere, match="no linear layers"):
        compress(TorchDynamic(), source, tmp_path / "out")
