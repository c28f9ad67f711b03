"""Extras end to end on the bundled model. `make test-extras` installs them and skips none."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from weightcut.compression.recipe import parse_recipe
from weightcut.data.blocks import token_blocks
from weightcut.data.corpus import documents
from weightcut.models.resolve import resolve
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Named
from weightcut.study.build import build_artifact, fitted, open_engine

PACKAGES = {
    "gguf": ("llama_cpp",),
    "onnx": ("onnx", "onnxruntime", "onnxruntime_genai"),
    "deepspeed": ("deepspeed",),
}
WANTED = os.environ.get("WEIGHTCUT_TEST_EXTRAS", "") not in ("", "0")
ELSEWHERE = """
import sys
from pathlib import Path
from tests.extras.test_extras import perplexity
from weightcut.records import Artifact
print(perplexity(sys.argv[1], Artifact.model_validate_json(sys.argv[2]), Path(sys.argv[3])))
"""


def need(extra: str) -> None:
    lacking = [package for package in PACKAGES[extra] if find_spec(package) is None]
    if lacking and not WANTED:
        pytest.skip(f"the extra {extra} is not installed (make test-extras)")
    assert not lacking, f"make test-extras did not install {lacking}"


@pytest.mark.parametrize("extra", sorted(PACKAGES))
def test_the_extra_imports(extra: str) -> None:
    need(extra)
    code = "; ".join(f"import {package}" for package in PACKAGES[extra])
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def perplexity(engine: str, artifact: Artifact, source: Path) -> float:
    texts = (document.text for document in documents("evaluation"))
    blocks = token_blocks(texts, load_tokenizer(source), 2, 128)
    with open_engine(Named(kind=engine)).open(artifact) as session:
        chosen = [
            window.values[np.arange(len(ids) - 1), ids[1:]]
            for window, ids in zip(session.token_logprobs(blocks), blocks.ids, strict=True)
        ]
    return math.exp(-float(np.mean(chosen)))


@pytest.mark.model
@pytest.mark.parametrize(
    ("extra", "engine", "recipe", "worse"),
    [
        ("gguf", "llama_cpp", "gguf-q8_0", 1.02),
        ("gguf", "llama_cpp", "gguf-q4_k_m", 1.5),
        ("gguf", "llama_cpp", "gguf-iq4_xs", 1.6),
        ("onnx", "onnxruntime", "onnx-int8", 1.03),
        ("onnx", "onnxruntime", "onnx-int4", 1.8),
    ],
)
def test_the_bundled_model_survives(
    extra: str, engine: str, recipe: str, worse: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    need(extra)
    checkpoint = resolve("smollm2-135m")
    root = tmp_path_factory.getbasetemp() / "artifacts"

    def made(text: str) -> Artifact:
        steps = fitted(parse_recipe(text), checkpoint.format, Named(kind=engine))
        return build_artifact(checkpoint, steps, root)

    whole, small = made(""), made(recipe)
    assert whole.proofs[f"export-{extra}"].kl < 5e-3
    assert small.bytes < 0.75 * checkpoint.bytes
    before = perplexity(engine, whole, checkpoint.path)
    here = perplexity(engine, small, checkpoint.path)
    assert here < worse * before
    words = [engine, small.model_dump_json(), str(checkpoint.path)]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.split()[-1]) == pytest.approx(here, rel=1e-3)
