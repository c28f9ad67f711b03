"""How long the windows of a proof are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weightcut.records import Artifact
from weightcut.study.proof import LENGTH, LONGEST, _length

QWEN = {"sliding_window": 32768, "max_position_embeddings": 32768}
FULL, SLIDING = "full_attention", "sliding_attention"


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({}, LENGTH),
        (QWEN | {"use_sliding_window": False}, LENGTH),
        (QWEN | {"layer_types": [FULL, FULL]}, LENGTH),
        (QWEN | {"use_sliding_window": False, "layer_types": [FULL, FULL]}, LENGTH),
        (QWEN, LONGEST),
        (QWEN | {"use_sliding_window": True, "layer_types": [FULL, SLIDING]}, LONGEST),
        ({"sliding_window": 512, "layer_types": [FULL, SLIDING]}, 640),
        ({"text_config": {"sliding_window": 512}}, 640),
        ({"sliding_window": None, "n_positions": 128}, 128),
    ],
)
def test_windows_are_long_only_where_attention_slides(
    tmp_path: Path, config: dict[str, Any], length: int
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    source = Artifact(path=tmp_path, format="hf", digest="", bytes=0, checkpoint="")
    assert _length(source) == length
