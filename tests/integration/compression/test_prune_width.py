from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import FAMILIES, make_family
from tests.integration.compression.hf_steps import context, empty, load, logits, one_thread
from tests.integration.compression.quantized import loss_elsewhere, loss_of, short_text

from weightcut.compression.files import tensors
from weightcut.compression.prune_width import PruneWidth
from weightcut.errors import BrokenInput, NotHere, UsageError

# Families by how many of their attention groups can go.
GROUPS = {"llama-tied": 1, "llama-untied": 1, "qwen2": 1, "gemma3": 0, "gpt2": 0, "phi": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(params=[*FAMILIES, "falcon"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_family(request.param, tmp_path / request.param)


def prune(source: Path, out: Path, **settings: Any) -> dict[str, Any]:
    made = context(source, out.parent / "scratch")
    settings = {"ratio": 0.25, "windows": 4, "length": 32, "groups": 0, **settings}
    PruneWidth(**settings).compress(source, empty(out), made)
    return json.loads(json.dumps(made.record))


def numbers(folder: Path) -> int:
    found = 0
    for _, entry in tensors(folder):
        begin, end = entry["data_offsets"]
        found += (end - begin) // 2
    return found


def test_the_result_is_smaller_by_exactly_what_went(family: Path, tmp_path: Path) -> None:
    groups = GROUPS.get(family.name, 0)
    record = prune(family, tmp_path / "out", groups=groups)
    width, kept = record["channels"]["before"], record["channels"]["after"]
    keys = record["key_value_heads"]["before"]
    assert kept == width * 3 // 4
    gone = 0
    for name, value in load(family).named_parameters():
        if ".mlp." in name and width in value.shape:
            gone += value.numel() // width * (width - kept)
        elif ".self_attn." in name and "norm" not in name:
            read_by_all = value.ndim == 1 and ("o_proj" in name or "dense" in name)
            gone += 0 if read_by_all else value.numel() // keys * groups
    assert numbers(family) - numbers(tmp_path / "out") == gone


def test_a_process_of_its_own_reads_the_same_model(family: Path, tmp_path: Path) -> None:
    prune(family, tmp_path / "out", groups=GROUPS.get(family.name, 0))
    text = short_text(family)
    assert loss_elsewhere(tmp_path / "out", text) == pytest.approx(
        loss_of(tmp_path / "out", text), rel=1e-3
    )


def test_generation_with_a_cache_works(family: Path, tmp_path: Path) -> None:
    prune(family, tmp_path / "out", groups=GROUPS.get(family.name, 0))
    model = load(tmp_path / "out").float()
    ids = torch.arange(8, 48)[None]
    kwargs = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    cached = model.generate(ids, attention_mask=torch.ones_like(ids), **kwargs)
    plain = model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, **kwargs)
    assert cached.tolist() == plain.tolist()


def test_nothing_removed_is_the_same_model(family: Path, tmp_path: Path) -> None:
    prune(family, tmp_path / "out", ratio=0)
    torch.testing.assert_close(logits(load(tmp_path / "out")), logits(load(family)), rtol=0, atol=0)


def test_what_adds_nothing_goes_first_and_costs_nothing(tmp_path: Path) -> None:
    source = make_family("qwen2", tmp_path / "source")
    model = load(source)
    for layer in model.model.layers:
        with torch.no_grad():
            layer.mlp.down_proj.weight[:, 1::4] = 0
            layer.self_attn.o_proj.weight[:, :48] = 0  # of the first group: heads 0 to 2
    model.save_pretrained(source)
    record = prune(source, tmp_path / "out", groups=1, refit=False)
    pruned = load(tmp_path / "out")
    torch.testing.assert_close(logits(pruned), logits(load(source)), rtol=0, atol=0.05)
    assert max(value for row in record["output_lost_by_layer"] for value in row.values()) < 1e-6
    before, after = model.model.layers[0], pruned.model.layers[0]
    kept = [i for i in range(192) if i % 4 != 1]
    assert torch.equal(after.mlp.up_proj.weight, before.mlp.up_proj.weight[kept])
    assert torch.equal(after.self_attn.q_proj.weight, before.self_attn.q_proj.weight[48:])
    assert torch.equal(after.self_attn.k_proj.bias, before.self_attn.k_proj.bias[16:])
    config = pruned.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (3, 1, 16)


def test_refitting_loses_less(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    plain = prune(source, tmp_path / "plain", refit=False, windows=16)
    fitted = prune(source, tmp_path / "fitted", windows=16)
    for before, after in zip(
        plain["output_lost_by_layer"][:1], fitted["output_lost_by_layer"][:1], strict=True
    ):
        assert after["mlp"] < before["mlp"]


@pytest.mark.parametrize("name", ["gpt2", "falcon"])
def test_attention_in_one_piece_is_refused_with_the_cure(name: str, tmp_path: Path) -> None:
    source = make_family(name, tmp_path / "source")
    with pytest.raises(NotHere, match="no separate q, k and v") as caught:
        prune(source, tmp_path / "out", groups=None)
    assert "groups=0" in caught.value.cure
    assert "prune-depth" in caught.value.cure


def test_more_groups_than_there_are_is_refused(tmp_path: Path) -> None:
    source = make_family("qwen2", tmp_path / "source")
    with pytest.raises(UsageError, match="cannot remove 2 of 2"):
        prune(source, tmp_path / "out", groups=2)


def test_experts_are_refused_with_what_still_applies(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    source = make_family("llama-tied", tmp_path / "source")
    config = MixtralConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=2, vocab_size=512,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(source)
    with pytest.raises(NotHere, match="expected one") as caught:
        prune(source, tmp_path / "out")
    assert "prune-depth" in caught.value.cure


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    model = load(source)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] = float("nan")
    model.save_pretrained(source)
    with pytest.raises(BrokenInput, match=r"layers\.1\.mlp\.up_proj"):
        prune(source, tmp_path / "out")
