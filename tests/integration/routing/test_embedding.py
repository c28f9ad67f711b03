"""A local model's view of the prompt as a feature of the router."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.families import make_family
from tests.outcomes import table

from weightcut.errors import BrokenInput, UsageError
from weightcut.routing.embedding import Embedding
from weightcut.routing.encoder import Corpus
from weightcut.routing.files import write_router
from weightcut.routing.fit import fit_router
from weightcut.routing.learned import Learned
from weightcut.routing.router import load_router


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family("qwen2", tmp_path_factory.mktemp("model") / "m")


def test_a_router_with_an_embedding_scores_alike_after_storing(
    folder: Path, tmp_path: Path
) -> None:
    made = fit_router(table(80), "forest", embedding=Embedding(folder))
    assert isinstance(made.policy, Learned)
    assert made.policy.encoder.axes.shape[1] > 1
    back = load_router(write_router(made, tmp_path / "router"))
    prompts = ["Write a sort.", "", "x " * 2000, "Sortiere das Öl"]
    together = made.policy.predict_many(Corpus.of(prompts, Embedding(folder)))
    alone = np.array([back.policy.predict(prompt) for prompt in prompts])
    assert alone == pytest.approx(together, abs=1e-4)
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(BrokenInput, match="not the one"):
        Embedding(tmp_path / "other", Embedding(folder).digest)
    with pytest.raises(BrokenInput, match="cannot be loaded"):
        Embedding(tmp_path / "other").one("hi")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json"):
        Embedding(tmp_path)
