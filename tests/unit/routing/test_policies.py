from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.outcomes import table

from weightcut.errors import UsageError
from weightcut.routing import ngrams
from weightcut.routing.encoder import Corpus, Encoder
from weightcut.routing.policy import (
    POLICIES,
    Policy,
    State,
    Training,
    fit_policy,
    restore_policy,
)
from weightcut.routing.structure import NAMES, structure
from weightcut.routing.trees import Boosted


@pytest.fixture(scope="module")
def training() -> Training:
    made = table(240, 3)
    return Training(Corpus.of(made.prompts), made.quality, 0, made.signals)


@pytest.fixture(scope="module", params=sorted(POLICIES))
def policy(request: pytest.FixtureRequest, training: Training) -> Policy:
    return fit_policy(request.param, training)


def test_every_policy_beats_guessing_the_mean(policy: Policy) -> None:
    new = table(200, 3, seed=9)
    found = policy.predict_many(Corpus.of(new.prompts))
    assert found.shape == (200, 3)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.corrcoef(found[:, 0], new.quality[:, 0])[0, 1] > 0.4


def test_one_prompt_is_predicted_like_many(policy: Policy) -> None:
    prompts = [
        *table(5, 3, seed=4).prompts,
        "",
        "\x00",
        "größer 漢字 " * 400,
        "a" * 50_000,
        "\ud800 alone",
    ]
    together = policy.predict_many(Corpus.of(prompts))
    for prompt, row in zip(prompts, together, strict=True):
        np.testing.assert_allclose(policy.predict(prompt), row, atol=2e-4)


def test_a_state_makes_the_same_policy(policy: Policy) -> None:
    again = restore_policy(policy.kind, policy.state(), 3)
    for prompt in table(20, 3, seed=5).prompts:
        np.testing.assert_array_equal(again.predict(prompt), policy.predict(prompt))


def test_a_state_of_another_shape_is_refused(policy: Policy) -> None:
    settings_, arrays = policy.state()
    with pytest.raises(ValueError, match="variants"):
        restore_policy(policy.kind, State(settings_, arrays), 2)
    for name in arrays:
        broken = dict(arrays)
        broken[name] = np.zeros((3, 1, 2))
        with pytest.raises((ValueError, TypeError, KeyError)):
            restore_policy(policy.kind, State(settings_, broken), 3)
        del broken[name]
        with pytest.raises((ValueError, KeyError)):
            restore_policy(policy.kind, State(settings_, broken), 3)


def test_labels_that_never_change_are_learnt_as_they_are(training: Training) -> None:
    constant = Training(training.corpus, np.tile([0.0, 1.0], (240, 1)))
    for kind in ("blend", "rules"):
        found = fit_policy(kind, constant).predict("Write a function")
        np.testing.assert_allclose(found, [0, 1], atol=0.06)


def test_an_unknown_policy_names_the_nearest(training: Training) -> None:
    with pytest.raises(UsageError, match="boosted"):
        fit_policy("boost", training)


def test_a_cascade_without_signals_says_what_is_missing(training: Training) -> None:
    with pytest.raises(UsageError, match="signals"):
        fit_policy("cascade", Training(training.corpus, training.quality))


def test_the_first_answer_counts_for_a_cascade(training: Training) -> None:
    cascade = fit_policy("cascade", training)
    predicted = np.array([[0.5, 0.7, 0.9]])
    sure, unsure = ([[v, 1.0, np.nan]] for v in (-0.5, -1.4))
    judged = [cascade.judge(predicted, np.array(s))[0] for s in (sure, unsure)]  # type: ignore[attr-defined]
    assert judged[0] > judged[1] + 0.1


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_has_features(text: str) -> None:
    text = ngrams.shorten(text)
    found = structure(text, ngrams.tokens(text))
    assert found.shape == (len(NAMES),)
    assert np.isfinite(found).all()
    assert (ngrams.grams(text, ngrams.tokens(text)) < 2 * ngrams.SPACE).all()


def test_scores_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from tests.outcomes import table\n"
        "from weightcut.routing.encoder import Corpus\n"
        "from weightcut.routing.policy import Training, fit_policy\n"
        "t = table(60); p = fit_policy('linear', Training(Corpus.of(t.prompts), t.quality))\n"
        "print(p.predict('Write a list of primes').tolist())"
    )
    found = set()
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        found.add(run.stdout)
    assert len(found) == 1


def test_an_encoder_learns_nothing_from_labels_and_fits_tiny_tables() -> None:
    encoder = Encoder.fit(Corpus.of(["one prompt", "another prompt"]), 0)
    assert encoder.encode("prompt").topics.shape == (encoder.loadings.shape[1],)


@pytest.mark.parametrize("rows", [30, 240])
def test_flat_trees_predict_what_their_library_does(training: Training, rows: int) -> None:
    """The boosted trees are read from where the library keeps them, which may change."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted: list[HistGradientBoostingRegressor] = []
    original = HistGradientBoostingRegressor.fit

    def spy(self: HistGradientBoostingRegressor, *words: object) -> HistGradientBoostingRegressor:
        fitted.append(self)
        return original(self, *words)

    part = Training(training.corpus.take(np.arange(rows)), training.quality[:rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HistGradientBoostingRegressor, "fit", spy)
        flat = Boosted.fit(part.encoded, part.quality, 0)
    means = part.quality.mean(0)
    for variant, model in enumerate(fitted):
        expected = model.predict(part.encoded.dense) + means[variant]
        found = flat.predict_many(part.encoded)[:, variant]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(found) > 0.01 or rows < 100
