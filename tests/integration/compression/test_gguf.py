from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import WORDS, make_family
from tests.integration.openvino_models import (
    context,
    divergence,
    log_probabilities,
    reference,
)

from weightcut import registry
from weightcut.compression import gguf_quants
from weightcut.compression.export_gguf import ExportGGUF
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.models.gguf import convert_gguf
from weightcut.models.gguf_file import read_gguf
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Step, TokenBlocks
from weightcut.study.proof import prove

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra gguf)")
from weightcut.engines.llama_cpp import LlamaCppEngine

NAMES = ("llama-tied", "llama-untied", "qwen2")
BITS = {  # of a weight, at most: every type in its largest form for rows of 96 and 64 weights
    "gguf-q8_0": 8.5, "gguf-q6_k": 8.5, "gguf-q5_k_m": 6.9, "gguf-q4_k_m": 6.5, "gguf-q4_0": 5.6,
    "gguf-iq4_xs": 5.6, "gguf-iq4_nl": 5.6, "gguf-q3_k_m": 6.5, "gguf-q2_k": 5.6,
}  # fmt: skip


def export(source: Path, out: Path, **settings: Any) -> dict[str, Any]:
    out.mkdir()
    made = context(source)
    ExportGGUF(**settings).compress(source, out, made)
    return made.record


def artifact(folder: Path, format_: str) -> Artifact:
    return Artifact(path=folder, format=format_, digest="", bytes=0, checkpoint="")


def predictions(folder: Path, ids: Any) -> Any:
    blocks = TokenBlocks(ids, np.zeros(len(ids), np.int64))
    with LlamaCppEngine(threads=1).open(artifact(folder, "gguf")) as session:
        return np.stack([window.values for window in session.token_logprobs(blocks)])


def windows(folder: Path) -> Any:
    ids = load_tokenizer(folder).encode(WORDS)
    return np.array([ids[start : start + 48] for start in (0, 60)], np.int64)


@pytest.fixture(scope="module", params=NAMES)
def exported(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    source = make_family(request.param, folder / "hf")
    export(source, folder / "gguf")
    return source, folder / "gguf"


def test_read_back_it_is_the_model_that_it_was(exported: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    source, out = exported
    convert_gguf(out / "model.gguf", tmp_path)
    before, after = (load_file(f / "model.safetensors") for f in (source, tmp_path))
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    one, other = (json.loads((f / "config.json").read_text()) for f in (source, tmp_path))
    for key in ("num_key_value_heads", "rms_norm_eps", "vocab_size", "tie_word_embeddings"):
        assert one[key] == other[key], key
    text = WORDS + "<|im_start|>user\n12345 Straße 🙂 don't\r\n<|im_end|>"
    assert load_tokenizer(source).encode(text) == load_tokenizer(tmp_path).encode(text)
    assert load_tokenizer(source).stop_ids == load_tokenizer(tmp_path).stop_ids
    chat = [{"role": "user", "content": "hello"}]
    assert load_tokenizer(source).chat(chat) == load_tokenizer(tmp_path).chat(chat)


def test_the_conversion_proves_itself(exported: tuple[Path, Path]) -> None:
    source, out = exported
    made, step = artifact(out, "gguf"), Step(kind="export-gguf")
    assert prove(artifact(source, "hf"), made, step).kl < 1e-3


def test_weights_are_stored_once_in_the_type_they_have(exported: tuple[Path, Path]) -> None:
    source, out = exported
    kinds = {len(t.shape): t.kind for t in read_gguf(out / "model.gguf").tensors.values()}
    assert kinds == {1: 0, 2: 30}  # float32 and bf16
    tensors = sum(t.size for t in read_gguf(out / "model.gguf").tensors.values())
    assert tensors < 1.02 * (source / "model.safetensors").stat().st_size
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("name", sorted(BITS))
def test_quantized_weights_take_fewer_bits_and_predict_nearly_the_same(
    exported: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    source, out = exported
    made = context(source)
    registry.load("method", name)().compress(out, tmp_path, made)
    assert made.record["bits_per_weight"] <= BITS[name]
    assert (tmp_path / "model.gguf").stat().st_size == made.record["weights_bytes"]
    assert sum(map(len, made.record["weights"].values())) == 29 + ("untied" in str(source))
    ids = windows(source)
    drift = divergence(predictions(out, ids), predictions(tmp_path, ids))
    assert 1e-6 < drift < (0.1 if name == "gguf-q8_0" else 4)


def test_every_type_has_a_name_of_its_own() -> None:
    classes = gguf_quants.GgufRounding.__subclasses__()
    assert {c().kind for c in classes} == set(BITS)
    assert all(c().kind in registry.METHODS for c in classes)


def test_llama_3s_rotary_scaling_comes_along(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "hf")
    config = json.loads((source / "config.json").read_text())
    config["rope_parameters"] = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
    }  # fmt: skip
    (source / "config.json").write_text(json.dumps(config))
    export(source, tmp_path / "scaled", dtype="float32")
    ids = windows(source)
    wanted = log_probabilities(reference(source), ids)[:, :-1]
    assert divergence(wanted, predictions(tmp_path / "scaled", ids)) < 1e-3
    plain = make_family("llama-tied", tmp_path / "plain")
    assert divergence(wanted, log_probabilities(reference(plain), ids)[:, :-1]) > 1e-3


def test_float32_becomes_fp16_where_it_fits_and_bf16_where_not(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "bf16")
    model = reference(source)
    for name, largest in (("float16", 1.0), ("bfloat16", 1e6)):
        folder = tmp_path / f"f32-{name}"
        model.model.layers[0].mlp.up_proj.weight.data[0, 0] = largest
        model.save_pretrained(folder)
        for beside in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(source / beside, folder / beside)
        assert export(folder, tmp_path / f"out-{name}")["dtype"] == name


@pytest.mark.parametrize("name", ["gemma3", "gpt2", "phi"])
def test_other_families_are_refused_with_the_engines_that_open_them(
    name: str, tmp_path: Path
) -> None:
    source = make_family(name, tmp_path / "hf")
    with pytest.raises(UsageError, match="is not written to GGUF") as caught:
        export(source, tmp_path / "out")
    assert "openvino" in caught.value.cure


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_act": "gelu"}, "activation"),
        ({"rope_scaling": {"rope_type": "yarn"}, "rope_parameters": None}, "yarn"),
        ({"use_sliding_window": True}, "sliding"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantized already"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    source = make_family("llama-tied", tmp_path / "hf")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UsageError, match=said):
        export(source, tmp_path / "out")


def test_tensors_without_a_place_and_tensors_that_lack_are_named(tmp_path: Path) -> None:
    source = make_family("llama-untied", tmp_path / "hf")
    config = json.loads((source / "config.json").read_text())
    path = source / "config.json"
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UsageError, match=r"model\.layers\.3"):
        export(source, tmp_path / "one")
    path.write_text(json.dumps(config | {"num_hidden_layers": 5}))
    with pytest.raises(BrokenInput, match=r"lack 'model\.layers\.4"):
        export(source, tmp_path / "two")


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    source = make_family("llama-tied", tmp_path / "hf")
    data = json.loads((source / "tokenizer.json").read_text())
    data["pre_tokenizer"] = {"type": "Whitespace"}
    (source / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(UsageError, match="no name here"):
        export(source, tmp_path / "out")


def test_quantizing_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(BrokenInput):
        gguf_quants.GgufQ80().compress(tmp_path, tmp_path, context(tmp_path))


def test_what_llama_cpp_cannot_quantize_is_told(
    exported: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "model.gguf").mkdir()  # the target cannot be written
    with pytest.raises((NotHere, BrokenInput), match="cannot quantize"):
        gguf_quants.GgufQ80().compress(exported[1], tmp_path, context(exported[0]))
