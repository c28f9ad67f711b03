from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import make_family
from tests.integration.engines.answering import windows
from tests.integration.onnx_models import Family, artifact, exported
from tests.integration.openvino_models import context, divergence

pytest.importorskip("onnxruntime_genai", reason="onnxruntime-genai is not installed (extra onnx)")
from weightcut.compression.export_onnx import ExportONNX
from weightcut.compression.onnx_int4 import OnnxInt4
from weightcut.compression.onnx_int8 import OnnxInt8
from weightcut.engines.onnxruntime import OnnxRuntimeEngine
from weightcut.errors import BrokenInput, NotHere, UsageError
from weightcut.records import Step, TokenBlocks
from weightcut.study.proof import prove

ELSEWHERE = """
import json, sys
from pathlib import Path
from tests.integration.compression.test_onnx import predictions
print(json.dumps(float(predictions(Path(sys.argv[1]), Path(sys.argv[2])).sum())))
"""


@pytest.fixture(scope="module", params=["llama-tied", "qwen2"])
def family(request: Any) -> Family:
    return exported(request.param)


def predictions(folder: Path, source: Path) -> Any:
    blocks = TokenBlocks(windows(source), np.zeros(3, np.int64))
    with OnnxRuntimeEngine(threads=1).open(artifact(folder)) as session:
        return np.stack([window.values for window in session.token_logprobs(blocks)])


def test_the_conversion_proves_itself_and_keeps_the_files(family: Family) -> None:
    proof = prove(artifact(family.source, "hf"), artifact(family.out), Step(kind="export-onnx"))
    assert proof.kl < 1e-3
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        assert (family.out / name).read_bytes() == (family.source / name).read_bytes()
    assert (
        sum((family.out / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
        == (family.record["weights_bytes"])
    )


@pytest.mark.parametrize(
    ("method", "bits"),
    [(OnnxInt8(), 8), (OnnxInt4(), 4), (OnnxInt4(symmetric=True, int8_activations=False), 4)],
)
def test_every_matrix_is_quantized_and_a_process_of_its_own_reads_it(
    family: Family, tmp_path: Path, method: Any, bits: int
) -> None:
    made = context(family.source)
    method.compress(family.out, tmp_path, made)
    kinds = made.record["weights"]
    assert set(kinds) == {f"int{bits} block 32", "int8 block 32"}
    assert {"lm_head/MatMul", "embed_tokens/Gather"} <= set(kinds["int8 block 32"])
    assert sum(map(len, kinds.values())) >= 22  # at least 5 in each of 4 layers, and 2 tables
    assert made.record["weights_bytes"] < family.record["weights_bytes"] * (bits + 6) / 32
    drift = divergence(
        predictions(family.out, family.source), found := predictions(tmp_path, family.source)
    )
    assert 1e-6 < drift < (0.5 if bits == 8 else 4)
    words = [sys.executable, "-c", ELSEWHERE, str(tmp_path), str(family.source)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == pytest.approx(float(found.sum()), rel=1e-5)


def test_weights_are_rounded_once(tmp_path: Path) -> None:
    family = exported("llama-tied")
    (tmp_path / "once").mkdir()
    OnnxInt8().compress(family.out, tmp_path / "once", context(family.source))
    with pytest.raises(UsageError, match="quantized already"):
        OnnxInt4().compress(tmp_path / "once", tmp_path, context(family.source))


def test_a_family_that_the_builder_does_not_know_is_refused(tmp_path: Path) -> None:
    source = make_family("gpt2", tmp_path / "hf")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(NotHere, match="cannot write this model") as caught:
        ExportONNX().compress(source, out, context(source))
    assert "openvino" in caught.value.cure


@pytest.mark.parametrize("content", [None, b"", b"no graph at all", b"\x08\x07\x12\xff"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((BrokenInput, UsageError)):
        OnnxInt8().compress(tmp_path, tmp_path, context(tmp_path))
