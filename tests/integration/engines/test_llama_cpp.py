from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families import make_family
from tests.integration.engines.answering import (
    answers,
    assert_contract,
    assert_greedy,
    assert_live,
    requests,
    windows,
)
from tests.integration.openvino_models import (
    context,
    divergence,
    log_probabilities,
    reference,
)

from weightcut.compression.export_gguf import ExportGGUF
from weightcut.errors import BrokenInput
from weightcut.records import Artifact, Request, TokenBlocks

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (extra gguf)")
from weightcut.engines.llama_cpp import LlamaCppEngine, LlamaCppSession

EXACT = LlamaCppEngine(threads=1, max_batch=3, **LlamaCppEngine.exact)
TOLERANCE = 0.15  # nats: llama.cpp rounds the activations of 16-bit layers to 16 bit


class Family:
    def __init__(self, name: str, folder: Path) -> None:
        self.source, self.out = make_family(name, folder / "hf"), folder / "gguf"
        self.out.mkdir()
        ExportGGUF(dtype="float32").compress(self.source, self.out, context(self.source))
        self.model = reference(self.source)
        self.session: LlamaCppSession = EXACT.open(artifact(self.out))


def artifact(folder: Path) -> Artifact:
    return Artifact(path=folder, format="gguf", digest="", bytes=0, checkpoint="")


@pytest.fixture(scope="module", params=["llama-tied", "llama-untied", "qwen2"])
def family(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    made = Family(request.param, tmp_path_factory.mktemp(request.param))
    with made.session:
        yield made


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    made = Family("llama-tied", tmp_path_factory.mktemp("llama"))
    with made.session:
        yield made


def test_windows_get_transformers_predictions(family: Family) -> None:
    ids = windows(family.source)
    wanted = log_probabilities(family.model, ids)[:, :-1]
    found = list(family.session.token_logprobs(TokenBlocks(ids, np.zeros(3, np.int64))))
    assert [window.block for window in found] == [0, 1, 2]
    assert divergence(wanted, np.stack([window.values for window in found])) < 1e-4


def test_answers_are_greedy_in_batches_of_any_make_up(family: Family) -> None:
    asked = requests(family.source)
    assert_greedy(family.model, asked, answers(family.session, asked), 1e-2)


def test_the_contract_of_an_engine(llama: Family) -> None:
    assert_contract(llama.session, llama.model, llama.source, 1e-2)


def test_requests_come_and_go(llama: Family) -> None:
    assert_live(llama.session, requests(llama.source))


def test_a_prompt_longer_than_a_batch_is_read_in_pieces(llama: Family, tmp_path: Path) -> None:
    import json
    import shutil

    longer = tmp_path / "longer"
    shutil.copytree(llama.source, longer)
    config = json.loads((longer / "config.json").read_text())
    (longer / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    out = tmp_path / "gguf"
    out.mkdir()
    ExportGGUF(dtype="float32").compress(longer, out, context(longer))
    (short,) = requests(llama.source)[:1]
    long = short.model_copy(update={"prompt_ids": short.prompt_ids * 60, "max_new_tokens": 3})
    assert len(long.prompt_ids) > 2048
    with EXACT.open(artifact(out)) as session:
        assert_greedy(reference(longer), [long], answers(session, [long]), 1e-2)


def test_describe_names_what_was_used(llama: Family) -> None:
    facts = llama.session.describe()
    assert facts["kv_cache"] == "f32"
    assert facts["threads"] == 1
    assert facts["precision"] == "F32 29"


def test_unknown_token_ids_are_refused(llama: Family) -> None:
    from weightcut.errors import WeightcutError

    with pytest.raises(WeightcutError, match="no token 999999"):
        list(
            llama.session.generate(
                [Request(id="a", prompt="", prompt_ids=(999999,), max_new_tokens=1)]
            )
        )


@pytest.mark.parametrize("cut", [0, 3, 100, 5000, -1])
def test_a_damaged_file_is_refused(llama: Family, tmp_path: Path, cut: int) -> None:
    for path in llama.out.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (llama.out / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(whole[:cut])
    with pytest.raises(BrokenInput):
        EXACT.open(artifact(tmp_path))
