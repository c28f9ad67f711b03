"""Weights that are no numbers stop a conversion, and no proof takes them for right."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.families import make_family

from weightcut.compression.method import Context
from weightcut.compression.recipe import build, parse_step
from weightcut.errors import BrokenInput
from weightcut.records import Artifact
from weightcut.study.proof import prove

METHODS = [
    "export-openvino", "export-onnx", "export-gguf", "bnb-int8", "bnb-nf4", "bnb-fp4", "gptq",
    "awq", "rtn", "smoothquant", "torchao-int8", "torchao-int8-dynamic", "torchao-int4",
    "torch-dynamic",
    "magnitude", "wanda", "sparsegpt", "prune-depth", "prune-width", "lora", "qlora", "distill",
]  # fmt: skip


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from safetensors.torch import load_file, save_file

    folder = make_family("llama-tied", tmp_path_factory.mktemp("broken") / "hf")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("text", METHODS)
def test_the_tensor_is_named(text: str, broken: Path, tmp_path: Path) -> None:
    def none(*_: object) -> None:
        raise AssertionError("texts were asked for")

    with pytest.raises(BrokenInput, match=r"layers\.2\.mlp\.up_proj\.weight' is NaN or infinite"):
        build(parse_step(text)).compress(broken, tmp_path, Context(broken, none, tmp_path))  # type: ignore[arg-type]


def test_a_proof_over_what_is_no_number_is_refused(broken: Path) -> None:
    same = Artifact(path=broken, format="hf", digest="", bytes=0, checkpoint="")
    with pytest.raises(BrokenInput, match="not all finite"):
        prove(same, same, parse_step("export-openvino"))
