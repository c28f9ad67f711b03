"""vLLM and TensorRT-LLM on a real GPU: greedy answers and predictions are those of transformers."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import make_family
from tests.integration.engines.answering import answers, requests, windows
from tests.integration.openvino_models import divergence, log_probabilities, reference

from weightcut import registry
from weightcut.hardware import probe
from weightcut.records import Artifact, TokenBlocks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not probe.gpus(), reason="this machine has no GPU"),
]
LIBRARIES = {"vllm": "vllm", "tensorrt": "tensorrt_llm"}


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_predictions_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    if find_spec(LIBRARIES[name]) is None:
        pytest.skip(f"{LIBRARIES[name]} is not installed")
    source = make_family("llama-untied", tmp_path / "hf")
    engine: Any = registry.load("engine", name)
    model = reference(source)
    ids = windows(source)
    artifact = Artifact(path=source, format="hf", digest="", bytes=0, checkpoint="")
    with engine.model_validate({"kind": name, **engine.exact}).open(artifact) as session:
        found = session.token_logprobs(TokenBlocks(ids, np.zeros(3, np.int64)))
        values = np.stack([window.values[:, :512] for window in found])
        asked = requests(source, ignore_stop=True, max_new_tokens=9)
        done = answers(session, asked)
    assert divergence(log_probabilities(model, ids)[:, :-1], values) < 5e-3
    assert all(len(one.token_ids) == 9 for one in done.values())
