from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import WORDS, make_family
from tests.integration.openvino_models import (
    artifact,
    context,
    divergence,
    export,
    log_probabilities,
    reference,
)

from weightcut.compression.export_openvino import ExportOpenVINO
from weightcut.compression.int4 import Int4
from weightcut.compression.int8 import Int8
from weightcut.compression.mxfp4 import MXFP4
from weightcut.compression.nf4 import NF4
from weightcut.engines.openvino import OpenVINOEngine
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import TokenBlocks

EXACT = OpenVINOEngine(precision="f32", kv_cache="f32")


class Exported:
    def __init__(self, name: str, folder: Path) -> None:
        self.source, self.out = make_family(name, folder / "hf"), folder / "openvino"
        self.out.mkdir()
        export(self.source, self.out)
        ids = load_tokenizer(self.source).encode(WORDS)
        windows = np.array([ids[s : s + 48] for s in range(0, 120, 15)], np.int64)
        self.blocks = TokenBlocks(windows, np.zeros(len(windows), np.int64))

    def drift(self, folder: Path) -> float:
        wanted = log_probabilities(reference(self.source), self.blocks.ids)[:, :-1]
        with EXACT.open(artifact(folder)) as session:
            found = np.stack([p.values for p in session.token_logprobs(self.blocks)])
        return divergence(wanted, found)


@pytest.fixture(scope="module", params=["qwen2", "gemma3", "gpt2"])
def exported(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    return Exported(request.param, tmp_path_factory.mktemp(request.param))


def test_int8_halves_the_weights_and_drifts_a_little(exported: Exported, tmp_path: Path) -> None:
    made = context(exported.source)
    Int8().compress(exported.out, tmp_path, made)
    stored = made.record["weights_bytes"]
    assert stored < 0.6 * (exported.out / "openvino_model.bin").stat().st_size
    assert set(made.record["weights"]) >= {"int8"}
    assert (tmp_path / "tokenizer.json").is_file()
    assert 1e-7 < exported.drift(tmp_path) < 0.2


@pytest.mark.parametrize("mode", ["sym", "asym"])
def test_int4_with_data_groups_by_what_divides(
    exported: Exported, tmp_path: Path, mode: Any
) -> None:
    made = context(exported.source, exported.blocks)
    Int4(mode=mode, windows=4, length=32).compress(exported.out, tmp_path, made)
    kinds = made.record["weights"]
    width = json.loads((exported.out / "config.json").read_text())
    assert made.record["calibration"]["windows"] == 4
    assert sum(len(v) for k, v in kinds.items() if k.startswith("int4")) >= 12
    if width.get("hidden_size") == 96:  # 96 = 3 * 32, 192 = 3 * 64
        assert "layers.0.self_attn.q_proj" in kinds["int4 group 32"]
        assert "layers.0.mlp.down_proj" in kinds["int4 group 64"]
    assert "embed_tokens" not in str([v for k, v in kinds.items() if k.startswith("int4")])
    assert exported.drift(tmp_path) > 1e-6


def test_int4_without_data_asks_for_none(exported: Exported, tmp_path: Path) -> None:
    made = context(exported.source)
    settings = Int4(awq=False, scale_estimation=False, group_size=32)
    settings.compress(exported.out, tmp_path, made)
    assert {k for k in made.record["weights"] if k.startswith("int4")} == {"int4 group 32"}
    assert "calibration" not in made.record


@pytest.mark.parametrize(("method", "name"), [(NF4(group_size=32), "nf4"), (MXFP4(), "fp4")])
def test_4_bit_floating_point_is_stored_as_such_and_predicts(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, method: Any, name: str
) -> None:
    exported = Exported("qwen2", tmp_path_factory.mktemp("qwen2"))
    made = context(exported.source)
    method.compress(exported.out, tmp_path, made)
    kinds = made.record["weights"]
    assert len(kinds[f"{name} group 32"]) == 28
    assert not {kind for kind in kinds if kind.startswith(("bf16", "f16", "f32"))}
    assert made.record["weights_bytes"] < 0.4 * (exported.out / "openvino_model.bin").stat().st_size
    assert 1e-6 < exported.drift(tmp_path) < 4


def test_what_nncf_refuses_is_told(exported: Exported, tmp_path: Path) -> None:
    from weightcut.compression.nncf_weights import compress_weights

    with pytest.raises(NotHere, match="NNCF cannot compress"):
        compress_weights(exported.out, tmp_path, {}, mode="mxfp4", group_size=64)


def test_a_float32_checkpoint_becomes_fp16(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "bf16")
    model = reference(source)
    with_dtype = tmp_path / "f32"
    model.save_pretrained(with_dtype)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (with_dtype / name).write_bytes((source / name).read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    assert export(with_dtype, out)["source_dtypes"] == ["float32"]
    assert (out / "openvino_model.bin").stat().st_size < 1.02 * (
        source / "model.safetensors"
    ).stat().st_size


def test_a_quantized_folder_is_no_source(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "hf")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="quantized already"):
        ExportOpenVINO().compress(source, tmp_path, context(source))


def test_state_that_is_no_attention_cache_is_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    source = make_family("llama-tied", tmp_path / "hf")
    config = MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=512)
    MambaForCausalLM(config).save_pretrained(source)
    with pytest.raises(NotHere, match="linear_attention"):
        ExportOpenVINO().compress(source, tmp_path, context(source))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BrokenInput):
        Int8().compress(tmp_path, tmp_path, context(tmp_path))
