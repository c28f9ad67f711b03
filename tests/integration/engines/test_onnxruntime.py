from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.engines.answering import (
    answers,
    assert_contract,
    assert_greedy,
    assert_live,
    requests,
    windows,
)
from tests.integration.onnx_models import Family, artifact, exported
from tests.integration.openvino_models import divergence, log_probabilities

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra onnx)")
from weightcut.engines.onnxruntime import OnnxRuntimeEngine, OnnxRuntimeSession
from weightcut.errors import BrokenInput
from weightcut.records import TokenBlocks

ENGINE = OnnxRuntimeEngine(threads=1, max_batch=3)
LIMIT = 1e-4  # nats


@pytest.fixture(scope="module", params=["llama-tied", "qwen2"])
def family(request: Any) -> Family:
    return exported(request.param)


@pytest.fixture(scope="module")
def llama() -> Family:
    return exported("llama-tied")


@pytest.fixture(scope="module")
def session(llama: Family) -> Iterator[OnnxRuntimeSession]:
    with ENGINE.open(artifact(llama.out)) as opened:
        yield opened


def test_windows_get_transformers_predictions(family: Family) -> None:
    ids = windows(family.source)
    wanted = log_probabilities(family.model, ids)[:, :-1]
    with ENGINE.open(artifact(family.out)) as opened:
        found = list(opened.token_logprobs(TokenBlocks(ids, np.zeros(3, np.int64))))
    assert [window.block for window in found] == [0, 1, 2]
    assert divergence(wanted, np.stack([window.values for window in found])) < LIMIT


def test_answers_are_greedy_in_batches_of_any_make_up(family: Family) -> None:
    asked = requests(family.source)
    with ENGINE.open(artifact(family.out)) as opened:
        assert_greedy(family.model, asked, answers(opened, asked), 1e-3)


def test_the_contract_of_an_engine(llama: Family, session: OnnxRuntimeSession) -> None:
    assert_contract(session, llama.model, llama.source, 1e-3)


def test_requests_come_and_go(llama: Family, session: OnnxRuntimeSession) -> None:
    assert_live(session, requests(llama.source))


def test_a_window_is_read_in_pieces(
    llama: Family, session: OnnxRuntimeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = windows(llama.source)
    blocks = TokenBlocks(ids, np.zeros(3, np.int64))
    whole = np.stack([w.values for w in session.token_logprobs(blocks)])
    monkeypatch.setattr("weightcut.engines.onnxruntime_rows._PIECE", 20)
    pieces = np.stack([w.values for w in session.token_logprobs(blocks)])
    assert divergence(whole, pieces) < LIMIT


def test_describe_names_what_was_used(session: OnnxRuntimeSession) -> None:
    facts = session.describe()
    assert (facts["precision"], facts["threads"]) == ("float32", 1)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x08\x07 no graph"])
def test_a_broken_folder_is_refused(
    llama: Family, tmp_path: Path, name: str, content: bytes | None
) -> None:
    for path in llama.out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BrokenInput):
        ENGINE.open(artifact(tmp_path))


def test_a_graph_of_another_kind_is_refused(llama: Family, tmp_path: Path) -> None:
    import onnx

    for path in llama.out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", 1, [1])
    graph = onnx.helper.make_graph([node], "g", [value], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    model.ir_version = 10
    onnx.save_model(model, tmp_path / "model.onnx")
    with ENGINE.open(artifact(tmp_path)) as opened, pytest.raises(BrokenInput, match="key-value"):
        list(opened.generate(requests(llama.source)))
