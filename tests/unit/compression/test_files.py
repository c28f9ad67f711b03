from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weightcut.compression.files import bytes_by_part, copy_companions, part_of
from weightcut.errors import BrokenInput


def safetensors(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors.items():
        size = 2
        for side in shape:
            size *= side
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


def test_companions_are_all_but_weights_and_config(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    carried = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "merges.txt"]
    carried += ["chat_template.jinja", "special_tokens_map.json", "LICENSE"]
    for name in [*carried, "config.json", "model.safetensors", "pytorch_model.bin", "train.py"]:
        (source / name).write_text(name)
    assert sorted(copy_companions(source, out)) == sorted(carried)
    assert sorted(path.name for path in out.iterdir()) == sorted(carried)
    assert (out / "LICENSE").read_text() == "LICENSE"


def test_parts_are_counted_from_the_headers(tmp_path: Path) -> None:
    safetensors(tmp_path / "model-1.safetensors", {"model.embed_tokens.weight": (10, 4)})
    safetensors(
        tmp_path / "model-2.safetensors",
        {"model.layers.0.mlp.weight": (4, 4), "model.norm.weight": (4,), "lm_head.weight": (10, 4)},
    )
    assert bytes_by_part(tmp_path) == {"embedding": 80, "layers": 32, "head": 80, "other": 8}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("transformer.wte.weight", "embedding"),
        ("transformer.wpe.weight", "embedding"),
        ("transformer.h.3.attn.c_attn.weight", "layers"),
        ("model.language_model.embed_tokens.weight", "embedding"),
        ("model.layers.0.embed_tokens_per_layer.weight", "layers"),
        ("lm_head.bias", "head"),
        ("model.final_layernorm.weight", "other"),
    ],
)
def test_part_of_a_weight(name: str, part: str) -> None:
    assert part_of(name) == part


def test_corrupt_headers_are_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenInput, match=r"no \*\.safetensors"):
        bytes_by_part(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    with pytest.raises(BrokenInput, match="corrupt"):
        bytes_by_part(tmp_path)
    path.write_bytes((4).to_bytes(8, "little") + b"nope")
    with pytest.raises(BrokenInput, match="corrupt"):
        bytes_by_part(tmp_path)
