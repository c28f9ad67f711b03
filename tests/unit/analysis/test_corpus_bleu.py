from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightcut.analysis.corpus_bleu import corpus_bleu
from weightcut.analysis.frames import Scores, read_scores
from weightcut.analysis.quality import Settings, summarize
from weightcut.metrics.bleu import bleu, bleu_counts
from weightcut.records import Observation

words = st.lists(st.sampled_from("abcde"), max_size=12).map(" ".join)


def _scores(pairs: list[tuple[str, str]]) -> Scores:
    return read_scores(
        Observation(sample=f"{i:03d}", values={**bleu_counts(*pair), "bleu": 0.5})
        for i, pair in enumerate(pairs)
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_it_is_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    references, predictions = ([pair[side] for pair in pairs] for side in (0, 1))
    found = corpus_bleu(_scores(pairs), 0.95, 0)
    assert found is not None
    assert found["value"] == pytest.approx(bleu(references, predictions) / 100, abs=1e-9)


def test_its_interval_holds_it_and_shrinks() -> None:
    draw = np.random.default_rng(0)
    line = [
        "public",
        "int",
        "sum",
        "(",
        "int",
        "a",
        ",",
        "int",
        "b",
        ")",
        "{",
        "return",
        "a",
        "+",
        "b",
        ";",
        "}",
    ]

    def pairs(n: int) -> list[tuple[str, str]]:
        changed = [[w if draw.random() > 0.2 else "x" for w in line] for _ in range(n)]
        return [(" ".join(line), " ".join(one)) for one in changed]

    few, many = (corpus_bleu(_scores(pairs(n)), 0.95, 0) for n in (20, 200))
    widths = [found["high"] - found["low"] for found in (few, many)]  # type: ignore[index, operator]
    assert widths[0] > 2 * widths[1] > 0
    assert few["low"] < few["value"] < few["high"]  # type: ignore[index, operator]


def test_counts_are_no_figures_of_their_own() -> None:
    summary = summarize(_scores([("a b c d", "a b c d")]), Settings(0.95, 0), baseline=False)
    assert summary.keys() == {"n", "answers", "bleu", "corpus_bleu"}
    assert summary["corpus_bleu"] == {"value": pytest.approx(1), "low": None, "high": None}


@pytest.mark.parametrize(("name", "published"), [("java-cs", 0.7746), ("cs-java", 0.7199)])
def test_codexglues_published_figures(name: str, published: float) -> None:
    shared = Path(__file__).parents[4] / "shared" / "data" / "codexglue_java_cs"
    if not shared.is_dir():
        pytest.skip("CodeXGLUE's published outputs are not here")
    sides = [
        (shared / "published_outputs" / f"{name}-model1.{kind}").read_text().splitlines()
        for kind in ("gold", "output")
    ]
    found = corpus_bleu(_scores(list(zip(*sides, strict=True))), 0.95, 0)
    assert found is not None
    assert found["value"] == pytest.approx(published, abs=5e-5)
