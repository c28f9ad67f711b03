from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.families import FAMILIES, make_family
from tests.integration.compression.hf_steps import context, empty, load, logits, one_thread
from torch import nn

from weightcut.compression.files import tensors
from weightcut.compression.hf_io import decoder_layers, load_causal_lm
from weightcut.compression.layer_chain import LayerChain
from weightcut.compression.prune_depth import PruneDepth
from weightcut.errors import BrokenInput, NotHere


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(params=[*FAMILIES, "falcon"])
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_family(request.param, tmp_path / "source")


def prune(source: Path, out: Path, scratch: Path, count: int = 2) -> dict[str, Any]:
    method = PruneDepth(layers=count, windows=2, length=32)
    made = context(source, scratch)
    method.compress(source, empty(out), made)
    return made.record


def test_the_written_model_is_the_original_less_the_layers(family: Path, tmp_path: Path) -> None:
    record = prune(family, tmp_path / "out", tmp_path / "scratch")
    original, pruned = load(family), load(tmp_path / "out")
    holder, name, layers = decoder_layers(original)
    assert len(decoder_layers(pruned)[2]) == len(layers) - 2 == record["layers_after"]
    assert len(set(record["removed"])) == 2

    class Skip(nn.Module):
        def forward(self, hidden: Any, *_: Any, **__: Any) -> Any:
            return (hidden,) if original.config.model_type == "falcon" else hidden

    # Skipping in place keeps every other layer at its own position, and so its kind of attention.
    setattr(
        holder,
        name,
        nn.ModuleList(Skip() if i in record["removed"] else x for i, x in enumerate(layers)),
    )
    torch.testing.assert_close(logits(pruned), logits(original), rtol=0, atol=0)


def test_generation_with_a_cache_works(family: Path, tmp_path: Path) -> None:
    prune(family, tmp_path / "out", tmp_path / "scratch")
    model = load(tmp_path / "out").float()
    ids = torch.arange(8, 48)[None]
    kwargs = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    cached = model.generate(ids, attention_mask=torch.ones_like(ids), **kwargs)
    plain = model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, **kwargs)
    assert cached.tolist() == plain.tolist()


def test_config_and_files_are_right(family: Path, tmp_path: Path) -> None:
    record = prune(family, tmp_path / "out", tmp_path / "scratch")
    before, after = (
        json.loads((folder / "config.json").read_text()) for folder in (family, tmp_path / "out")
    )
    depth = "n_layer" if "n_layer" in before else "num_hidden_layers"
    assert after[depth] == before[depth] - 2
    if kinds := before.get("layer_types"):
        kept = [kind for i, kind in enumerate(kinds) if i not in record["removed"]]
        assert after["layer_types"] == kept
    same = set(before) - {depth, "layer_types", "transformers_version"}
    assert {key: after.get(key) for key in same} == {key: before[key] for key in same}
    stored = dict(tensors(tmp_path / "out"))
    assert {entry["dtype"] for entry in stored.values()} == {"BF16"}
    assert ("lm_head.weight" in stored) == ("lm_head.weight" in dict(tensors(family)))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (family / name).read_bytes()


def test_the_record_holds_what_was_measured(family: Path, tmp_path: Path) -> None:
    record = prune(family, tmp_path / "out", tmp_path / "scratch")
    ids = torch.from_numpy(context(family, tmp_path / "s").texts("calibration", 2, 32).ids)
    with torch.no_grad():
        loss = load(tmp_path / "out")(input_ids=ids, labels=ids).loss
    assert record["loss_after_each"][-1] == pytest.approx(float(loss), rel=0.02)
    assert len(record["block_influence"]) == record["layers_before"]
    chain = LayerChain(load_causal_lm(family), ids)
    whole = chain.loss(chain.through(range(len(chain)), chain.start))
    assert record["loss_before"] == pytest.approx(whole, rel=1e-6)
    first = record["removed"][0]
    kept = [i for i in range(len(chain)) if i != first]
    assert record["loss_after_each"][0] == pytest.approx(
        chain.loss(chain.through(kept, chain.start)), rel=1e-5
    )


def test_nothing_removed_is_the_same_model(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    record = prune(source, tmp_path / "out", tmp_path / "scratch", count=0)
    assert record["removed"] == []
    torch.testing.assert_close(logits(load(tmp_path / "out")), logits(load(source)), rtol=0, atol=0)


def test_layers_that_depend_on_their_position_are_refused(tmp_path: Path) -> None:
    source = make_family("gpt2", tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    config["scale_attn_by_inverse_layer_idx"] = True
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotHere, match="does not read back as it was measured"):
        prune(source, tmp_path / "out", tmp_path / "scratch")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    (source / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0 not a header at all")
    with pytest.raises(BrokenInput, match="cannot be loaded"):
        load_causal_lm(source)


@pytest.mark.model
def test_the_bundled_model_loses_its_least_missed_layer(tmp_path: Path) -> None:
    from weightcut.data.blocks import token_blocks
    from weightcut.data.corpus import documents
    from weightcut.models.resolve import resolve
    from weightcut.models.tokenizer import load_tokenizer

    source = resolve("smollm2-135m").path
    tokenizer = load_tokenizer(source)
    blocks = token_blocks((d.text for d in documents("calibration")), tokenizer, 2, 64)
    made = context(source, tmp_path / "scratch")
    PruneDepth(layers=1, windows=2, length=64).compress(
        source,
        empty(tmp_path / "out"),
        type(made)(
            origin=source, texts=lambda *_: blocks, scratch=made.scratch, record=made.record
        ),
    )
    assert made.record["layers_after"] == 29
    assert 0 < made.record["loss_after_each"][0] - made.record["loss_before"] < 0.5


def test_a_generation_config_that_contradicts_itself_is_carried_along(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "source")
    config = '{"bos_token_id": 0, "temperature": 0.9, "top_p": 0.6}'  # as Vicuna has it
    (source / "generation_config.json").write_text(config)
    prune(source, tmp_path / "out", tmp_path / "scratch")
    assert (tmp_path / "out" / "generation_config.json").read_text() == config
