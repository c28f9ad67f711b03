from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import FAMILIES, WORDS, make_family

from weightcut.compression.bnb_nf4 import BnbNF4
from weightcut.compression.method import Context, Method
from weightcut.engines.transformers import TransformersEngine, TransformersSession
from weightcut.errors import UsageError
from weightcut.models.tokenizer import load_tokenizer
from weightcut.records import Artifact, Request, TokenBlocks

# Run in a process of its own: bitsandbytes must not remember anything of the one that quantized.
PERPLEXITY = """
import json, sys
from pathlib import Path
from tests.integration.compression.test_bnb_nf4 import nll, opened
with opened(Path(sys.argv[1])) as session:
    print(json.dumps(nll(session, json.loads(sys.argv[2]))))
"""


def compress(source: Path, out: Path, **settings: Any) -> dict[str, Any]:
    out.mkdir()
    context = Context(origin=source, texts=lambda *_: pytest.fail("no text"), scratch=out)
    BnbNF4(**settings).compress(source, out, context)
    return context.record


def opened(folder: Path) -> TransformersSession:
    artifact = Artifact(path=folder, format="hf", digest="", bytes=0, checkpoint="")
    return TransformersEngine(threads=1).open(artifact)


def nll(session: TransformersSession, ids: list[list[int]]) -> float:
    """Mean negative log-likelihood in nats per token."""
    windows = np.array(ids)
    blocks = TokenBlocks(ids=windows, text_bytes=np.ones(len(windows), dtype=np.int64))
    chosen = [
        window.values[np.arange(windows.shape[1] - 1), row[1:]]
        for window, row in zip(session.token_logprobs(blocks), windows, strict=True)
    ]
    return -float(np.mean(chosen))


def nll_elsewhere(folder: Path, ids: list[list[int]]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", PERPLEXITY, str(folder), json.dumps(ids)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def test_it_is_a_method():
    assert isinstance(BnbNF4(), Method)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_quantized_saved_and_opened(family, tmp_path):
    source = make_family(family, tmp_path / "source")
    record = compress(source, tmp_path / "out")
    assert record["quantized_layers"] > 0
    # A width of 96 is no multiple of the block of 64.
    assert bool(record["unquantized_layers"]) == (family == "qwen2")
    assert record["bytes_by_part"]["layers"] > 0
    tokenizer = load_tokenizer(tmp_path / "out")
    ids = [tokenizer.encode(WORDS)[:64]]
    with opened(source) as full, opened(tmp_path / "out") as small:
        lost = nll(small, ids) - nll(full, ids)
        (done,) = small.generate([Request(id="r", prompt="", prompt_ids=tuple(ids[0]))])
        assert small.describe()["quantization"] == "bitsandbytes"
    assert done.token_ids
    assert 0 < abs(lost) < 1


def test_quantizing_twice_is_refused(tmp_path):
    source = make_family("llama-tied", tmp_path / "source")
    compress(source, tmp_path / "once")
    with pytest.raises(UsageError, match="quantized already"):
        compress(tmp_path / "once", tmp_path / "twice")


@pytest.mark.model
def test_the_bundled_model_survives_save_and_reload_in_a_fresh_process(tmp_path):
    from weightcut.data.blocks import token_blocks
    from weightcut.data.corpus import documents
    from weightcut.models.resolve import resolve

    source = resolve("smollm2-135m").path
    record = compress(source, tmp_path / "nf4")
    parts = record["bytes_by_part"]
    assert record["quantized_layers"] == 30 * 7
    # 4 bits, and with double quantization 0.127 bit for the scales, instead of 16.
    assert parts["layers"] == pytest.approx(106_168_320 * (4 + 0.127) / 8, rel=0.02)
    assert parts["embedding"] == 49152 * 576 * 2
    tokenizer = load_tokenizer(source)
    texts = (document.text for document in documents("evaluation"))
    ids = token_blocks(texts, tokenizer, 3, 256).ids.tolist()
    before = quantized_in_memory(source, ids)
    after = nll_elsewhere(tmp_path / "nf4", ids)
    assert np.exp(after) == pytest.approx(np.exp(before), rel=1e-3)


def quantized_in_memory(source: Path, ids: list[list[int]]) -> float:
    """The loss right after quantization, without a file in between."""
    import torch

    model = BnbNF4()._load(source, None)
    rows = torch.tensor(ids)
    with torch.inference_mode():
        logprobs = model(rows).logits[:, :-1].float().log_softmax(-1)
    return -float(logprobs.gather(2, rows[:, 1:, None]).mean())
