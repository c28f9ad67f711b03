"""Safetensors headers are checked before they are believed; written files are read by others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from weightcut.errors import BrokenInput
from weightcut.models.safetensors import read_header, write_bfloat16


@pytest.fixture
def intact(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones((2, 3), np.float32), "b": np.zeros(5, np.int8)}, path)
    return path


def test_an_intact_file_lists_its_tensors(intact: Path) -> None:
    tensors = read_header(intact)
    assert {name: (t.dtype, t.shape, t.elements) for name, t in tensors.items()} == {
        "a": ("F32", (2, 3), 6),
        "b": ("I8", (5,), 5),
    }


@pytest.mark.parametrize("keep", [0, 4, 8, 30, -1])
def test_a_truncated_file_is_named(intact: Path, keep: int) -> None:
    intact.write_bytes(intact.read_bytes()[:keep])
    with pytest.raises(BrokenInput) as raised:
        read_header(intact)
    assert raised.value.place == str(intact)


def test_bytes_after_the_tensors_are_refused(intact: Path) -> None:
    intact.write_bytes(intact.read_bytes() + b"x")
    with pytest.raises(BrokenInput, match="followed by other bytes"):
        read_header(intact)


def _with_header(path: Path, header: Any, data: bytes = b"") -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "needs 8 bytes"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "starts at byte 4"),
        ({"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}, "malformed"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "malformed"),
        ({"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}, "malformed"),
        ({"dtype": "F32", "data_offsets": [0, 4]}, "malformed"),
        ([], "malformed"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, entry: Any, cause: str
) -> None:
    path = _with_header(tmp_path / "m.safetensors", {"w": entry}, b"\0" * 8)
    with pytest.raises(BrokenInput, match=cause):
        read_header(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=64))
def test_no_bytes_raise_anything_but_broken_input(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(data)
    try:
        tensors = read_header(path)
    except BrokenInput:
        return
    assert tensors == {}  # 64 bytes have no room for a tensor's entry


def test_a_written_file_is_the_nearest_bfloat16_to_even(tmp_path: Path) -> None:
    path = tmp_path / "out.safetensors"
    one = np.float32(1.0)
    step = np.float32(2.0**-7)  # bf16 has 8 bits of precision
    values = np.array(
        [[one, one + step / 2, one + step * 1.5, -one - step / 2 * 1.01, 0.0, 3.0e38]], np.float32
    )
    write_bfloat16(path, {"w": (1, 6)}, [("w", values)])
    begin = len(path.read_bytes()) - 12
    bits = np.frombuffer(path.read_bytes()[begin:], "<u2").astype(np.uint32) << 16
    held = bits.view(np.float32)
    expected = [one, one, one + 2 * step, -one - step, 0.0]
    assert held[:5].tolist() == [float(x) for x in expected]
    assert read_header(path)["w"].shape == (1, 6)


def test_tensors_out_of_order_are_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected w"):
        write_bfloat16(tmp_path / "x", {"w": (1,)}, [("v", np.zeros(1, np.float32))])
