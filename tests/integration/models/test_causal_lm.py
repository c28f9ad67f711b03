"""Loading a model's folder: what is wrong with it is said in one plain line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.families import make_family

from weightcut.errors import BrokenInput, WeightcutError
from weightcut.models.causal_lm import empty_causal_lm, load_causal_lm
from weightcut.models.folder import folder_checkpoint
from weightcut.models.torch_state import load_torch_lm

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_family("llama-tied", tmp_path_factory.mktemp("llama") / "model")


def with_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def with_tensors(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def too_large(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.embed_tokens.weight"].clone()


def test_a_sound_folder_loads_in_its_own_type_and_in_another(llama):
    assert str(load_causal_lm(llama).dtype) == "torch.bfloat16"
    model = load_causal_lm(llama, "float32")
    assert str(model.dtype) == "torch.float32"
    assert not model.training


def test_an_empty_model_has_names_and_no_memory(llama):
    model = empty_causal_lm(llama)
    assert all(value.is_meta for value in model.state_dict().values())
    full = load_causal_lm(llama)
    assert {n for n, _ in model.named_parameters()} == {n for n, _ in full.named_parameters()}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:9000]), "loaded"),
        (lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 64), "loaded"),
        (lambda f: (f / WEIGHTS).unlink(), "no file named"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "no|not a JSON object"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: with_config(f, model_type="no-such-type"), "no-such-type"),
        (lambda f: with_config(f, hidden_size=128), "has the shape .* its config says"),
        (lambda f: with_config(f, hidden_size="wide"), "hidden_size"),
        (lambda f: with_config(f, num_hidden_layers=6), "weights are missing"),
        (lambda f: with_config(f, num_attention_heads=0), "loaded"),
        (lambda f: with_config(f, quantization_config="small"), "loaded"),
        (
            lambda f: with_tensors(f, lambda t: t.pop("model.norm.weight")),
            r"weights are missing: model\.norm\.weight",
        ),
        (
            lambda f: with_tensors(f, too_large),
            r"'model\.norm\.weight' has the shape \[512, 64\], its config says \[64\]",
        ),
    ],
)
def test_a_broken_folder_is_told_plainly(spoil, says, llama, tmp_path):
    folder = shutil.copytree(llama, tmp_path / "broken")
    spoil(folder)
    with pytest.raises(WeightcutError, match=says) as caught:
        load_causal_lm(folder, "bfloat16")
    assert "broken" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_that_comes_with_a_model_does_not_run(llama, tmp_path):
    folder, mark = shutil.copytree(llama, tmp_path / "own"), tmp_path / "mark"
    (folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    with_config(
        folder,
        model_type="own",
        auto_map={"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own"},
    )
    with pytest.raises(BrokenInput):
        load_causal_lm(folder)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("family", "old"),
    [
        ("gpt2", ("transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias")),
        ("llama-tied", ("model.layers.0.self_attn.rotary_emb.inv_freq",)),
    ],
)
def test_a_state_dict_may_hold_what_models_now_compute(
    family: str, old: tuple[str, ...], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = make_family(family, tmp_path / "model")
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    before = folder_checkpoint(folder, "x", "y").parameters
    state = tensors | dict.fromkeys(old, torch.ones(4))
    torch.save(state, folder / "pytorch_model.bin")
    assert folder_checkpoint(folder, "x", "y").parameters == before
    assert load_torch_lm(folder, "float32") is not None
    torch.save(tensors | {"surplus.weight": torch.ones(4)}, folder / "pytorch_model.bin")
    with pytest.raises(BrokenInput, match="hold the unknown 'surplus"):
        load_torch_lm(folder, "float32")
