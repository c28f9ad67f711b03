"""What every method writes is the same model in another process: the one that opens it later."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import WORDS, make_family

from weightcut import registry
from weightcut.compression import recipe
from weightcut.models.resolve import resolve
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Named, TokenBlocks
from weightcut.store.artifacts import read_artifact
from weightcut.study.build import build_artifact, fitted, open_engine

SMALL = {
    "steps": 2, "batch_size": 2, "warmup": 0, "eval_every": 1, "validation_windows": 2,
    "windows": 4, "length": 24,
}  # fmt: skip
ENGINES = ("transformers", "openvino", "onnxruntime", "llama_cpp")
NEEDS = {"onnxruntime": "onnxruntime", "llama_cpp": "llama_cpp"}
# One file with nothing of ours in it but what opens artifacts.
ELSEWHERE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.integration.compression.test_reload import losses
print("RESULT" + json.dumps(losses(json.loads(sys.argv[2]))))
"""


def _methods() -> Iterator[tuple[str, str]]:
    """Yield each method that runs here, with the first engine that opens what it writes."""
    for kind in registry.names("method"):
        declared = registry.load("method", kind)
        if declared.model_fields["kind"].default.startswith(("scripted", "tensorrt", "export")):
            continue
        for name in ENGINES:
            if declared.produces in registry.load("engine", name).accepts:
                yield kind, name
                break


METHODS = dict(_methods())


def losses(asked: dict[str, list[str]]) -> dict[str, float]:
    """Return the mean loss of each artifact: name to (folder, engine)."""
    found = {}
    for name, (folder, engine) in asked.items():
        artifact = read_artifact(Path(folder))
        ids = load_tokenizer(artifact.path).encode(WORDS)
        blocks = TokenBlocks(
            np.array([ids[s : s + 24] for s in (0, 30)], np.int64), np.full(2, 23), ""
        )
        with open_engine(Named(kind=engine)).open(artifact) as session:
            read = zip(session.token_logprobs(blocks), blocks.ids, strict=True)
            chosen = [w.values[i, t] for w, row in read for i, t in enumerate(row[1:])]
        found[name] = -float(np.mean(chosen))
    return found


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("reload")
    checkpoint = resolve(str(make_family("llama-untied", root / "model")))
    made: dict[str, list[str]] = {}
    for kind, engine in METHODS.items():
        if engine in NEEDS and importlib.util.find_spec(NEEDS[engine]) is None:
            continue
        fields = registry.load("method", kind).model_fields
        settings: dict[str, Any] = {k: v for k, v in SMALL.items() if k in fields}
        steps = fitted((recipe.step(kind, settings),), checkpoint.format, Named(kind=engine))
        artifact = build_artifact(checkpoint, steps, root / "artifacts")
        made[kind] = [str(artifact.path), engine]
    return made


def test_each_method_is_the_same_model_in_a_fresh_process(artifacts: dict[str, list[str]]) -> None:
    root = str(Path(__file__).parents[3])
    words = [sys.executable, "-c", ELSEWHERE, root, json.dumps(artifacts)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout.rpartition("RESULT")[2])
    here = losses(artifacts)
    assert len(here) >= 20
    assert here == pytest.approx(there, abs=1e-3)  # of the loss: relative, of the perplexity
