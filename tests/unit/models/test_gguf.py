"""GGUF files: the weights come out exactly; damaged or unknown ones are refused with a cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.gguf_files import HIDDEN, TEMPLATE, TOKENS, write_gguf

from weightcut.errors import BrokenInput, UsageError
from weightcut.models.folder import folder_checkpoint
from weightcut.models.gguf import convert_gguf
from weightcut.models.gguf_file import read_gguf
from weightcut.models.safetensors import read_header
from weightcut.models.tokenizer import load_tokenizer

Kind = gguf.GGMLQuantizationType


def _converted(path: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    convert_gguf(path, folder)
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    return {
        name: (np.frombuffer(raw[start + t.begin : start + t.end], "<u2").reshape(t.shape))
        for name, t in read_header(file).items()
    }


def _bf16(values: Any) -> Any:
    """Round by torch-free arithmetic of another kind than the code's: through float64."""
    values = np.asarray(values, np.float64)
    _, exponent = np.frexp(values)
    unit = np.exp2(exponent.astype(np.float64) - 8)
    rounded = (np.rint(values / unit) * unit).astype(np.float32)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_the_dequantized_ones_rounded_to_bf16(
    tmp_path: Path, architecture: str, tied: bool
) -> None:
    expected = write_gguf(tmp_path / "m.gguf", architecture, tied=tied, kind=Kind.Q4_1)
    found = _converted(tmp_path / "m.gguf", tmp_path / "out")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], _bf16(values)), name
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["tie_word_embeddings"] is tied
    assert config["rms_norm_eps"] == 1e-5


@pytest.mark.parametrize("kind", [Kind.F16, Kind.Q8_0, Kind.Q5_0, Kind.Q4_0])
def test_other_kinds_come_out_exactly_too(tmp_path: Path, kind: Kind) -> None:
    expected = write_gguf(tmp_path / "m.gguf", kind=kind)
    found = _converted(tmp_path / "m.gguf", tmp_path / "out")
    assert all(np.array_equal(found[name], _bf16(v)) for name, v in expected.items())


def test_the_folder_is_a_checkpoint_with_tokenizer_and_template(tmp_path: Path) -> None:
    weights = write_gguf(tmp_path / "m.gguf")
    _converted(tmp_path / "m.gguf", tmp_path / "out")
    checkpoint = folder_checkpoint(tmp_path / "out", "m", "test")
    assert checkpoint.parameters == sum(v.size for v in weights.values())
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.vocab_size == len(TOKENS)
    assert tokenizer.stop_ids == (1,)
    assert tokenizer.chat([{"role": "user", "content": "hi"}], "x") == "hi<|im_end|>x"
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == TEMPLATE
    text = "def f():\n        return 12  # ü\n"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert [TOKENS[i] for i in ids[:2]] == ["de", "f"]
    # The rule 'smollm' cuts digits apart.
    assert TOKENS.index("1") in ids
    assert TOKENS.index("2") in ids


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.02, 0.2, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(BrokenInput) as raised:
        convert_gguf(path, tmp_path)
    assert raised.value.place == str(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_damaged_headers_never_raise_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.gguf"
    source = tmp_path / "source.gguf"
    if not source.exists():
        write_gguf(source)
    raw = bytearray(source.read_bytes()[:9000])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with pytest.raises(BrokenInput):  # it is truncated at the least
        read_gguf(path)


@pytest.mark.parametrize(
    ("changes", "error", "cause"),
    [
        ({"architecture": "rwkv6"}, UsageError, "architecture is 'rwkv6'"),
        ({"without": ["blk.1.ffn_up.weight"]}, BrokenInput, "'blk.1.ffn_up.weight' is missing"),
        (
            {"tensors": {"rope_freqs.weight": np.ones(8, np.float32)}},
            UsageError,
            "'rope_freqs.weight' has no place",
        ),
        ({"metadata": {"llama.rope.scaling.type": "yarn"}}, UsageError, "rotary"),
        ({"metadata": {"llama.rope.dimension_count": 8}}, UsageError, "rotary"),
        ({"metadata": {"llama.feed_forward_length": HIDDEN}}, BrokenInput, "not \\[64, 64\\]"),
        ({"metadata": {"llama.attention.head_count": 0}}, BrokenInput, "head_count is 0"),
        ({"metadata": {"llama.block_count": 10**9}}, BrokenInput, "layers"),
        ({"metadata": {"tokenizer.ggml.model": "llama"}}, UsageError, "kind 'llama'"),
        ({"metadata": {"tokenizer.ggml.pre": "gpt2"}}, UsageError, "did you mean 'gpt-2'"),
        ({"metadata": {"tokenizer.ggml.merges": ["ab"]}}, BrokenInput, "malformed merges"),
        ({"metadata": {"tokenizer.ggml.merges": ["q z"]}}, BrokenInput, "malformed merges"),
        ({"metadata": {"tokenizer.ggml.bos_token_id": 9999}}, BrokenInput, "bos_token_id"),
    ],
)
def test_what_is_not_known_is_refused_with_its_cause(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], cause: str
) -> None:
    write_gguf(tmp_path / "m.gguf", **changes)
    with pytest.raises(error, match=cause):
        convert_gguf(tmp_path / "m.gguf", tmp_path)


def test_a_begin_of_text_id_is_added_where_the_file_says_so(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", metadata={"tokenizer.ggml.add_bos_token": True})
    _converted(tmp_path / "m.gguf", tmp_path / "out")
    tokenizer = load_tokenizer(tmp_path / "out")
    assert tokenizer.adds_bos
    assert tokenizer.encode("x", special=True)[0] == tokenizer.bos_id == 0
    assert 0 not in tokenizer.encode("x")
