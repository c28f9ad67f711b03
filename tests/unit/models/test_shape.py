"""What a model's sizes are, read from config and headers, hostile ones included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightcut.models.safetensors import write_bfloat16
from weightcut.models.shape import Shape, shape_of
from weightcut.records import Checkpoint, Format

LLAMA = {
    "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 10,
}  # fmt: skip
LAYERS = {"model.layers.0.mlp.up_proj.weight": (16, 8), "model.layers.0.norm.weight": (8,)}
EMBEDDING = {"model.embed_tokens.weight": (10, 8)}
HEAD = {"lm_head.weight": (10, 8)}


def checkpoint(
    folder: Path, config: Any, tensors: dict[str, tuple[int, ...]], kind: Format = "hf"
) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    zeros = ((name, np.zeros(shape, np.float32)) for name, shape in tensors.items())
    write_bfloat16(folder / "model.safetensors", tensors, zeros)
    count = sum(int(np.prod(shape)) for shape in tensors.values())
    return Checkpoint(
        reference="m", path=folder, format=kind, digest="", origin="", bytes=0, parameters=count
    )


def test_untied_embeddings_and_heads_are_outside_of_the_layers(tmp_path: Path) -> None:
    found = shape_of(checkpoint(tmp_path / "m", LLAMA, LAYERS | EMBEDDING | HEAD))
    assert found == Shape(
        parameters=16 * 8 + 8 + 160,
        outer=160,
        largest=128,
        layers=3,
        hidden=8,
        vocabulary=10,
        cache=2 * 3 * 2 * 2,
    )
    assert found.inner == 16 * 8 + 8


def test_a_tied_head_that_is_stored_all_the_same_counts_once(tmp_path: Path) -> None:
    tied = LLAMA | {"tie_word_embeddings": True}
    stored = checkpoint(tmp_path / "m", tied, LAYERS | EMBEDDING | HEAD)
    stored = stored.model_copy(update={"parameters": stored.parameters - 80})
    assert shape_of(stored).outer == 80


def test_gpt2_names_its_sizes_in_its_own_way(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 10}
    found = shape_of(checkpoint(tmp_path / "m", config, {"wte.weight": (10, 8)}))
    assert (found.hidden, found.layers, found.cache, found.outer) == (8, 2, 2 * 2 * 8, 80)


def test_a_text_model_inside_of_another_is_the_one_that_counts(tmp_path: Path) -> None:
    found = shape_of(checkpoint(tmp_path / "m", {"text_config": LLAMA}, EMBEDDING))
    assert found.layers == 3


def test_without_a_config_the_number_of_weights_is_all(tmp_path: Path) -> None:
    made = Checkpoint(
        reference="m", path=tmp_path, format="scripted", digest="", origin="", bytes=1, parameters=7
    )
    assert shape_of(made) == Shape(parameters=7)


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "vocab_size"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(), st.floats(), st.lists(st.none())
    )
)
def test_no_size_in_a_config_makes_it_fail(tmp_path: Path, name: str, value: object) -> None:
    found = shape_of(checkpoint(tmp_path / "m", LLAMA | {name: value}, LAYERS | EMBEDDING))
    assert 0 <= found.outer <= found.parameters
    assert min(found.hidden, found.layers, found.vocabulary, found.cache) >= 0
