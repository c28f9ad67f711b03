"""What the intervals promise, shown by simulation: coverage and the rate of false *retained*."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from weightcut.analysis.frames import Scores
from weightcut.analysis.quality import Settings, retention
from weightcut.analysis.statistics import Floats, Ratio, mean_interval, paired_ratio, wilson

STUDIES = 1200
MARGIN = 0.95
Draw = Callable[[np.random.Generator], tuple[Floats, Floats]]


def _similarity(n: int, changed: float, kept: float) -> Draw:
    """CodeBLEU-like pairs: a share of the answers changed, so that `kept` of the mean is left."""
    scale = 1 - (1 - kept) / changed

    def draw(generator: np.random.Generator) -> tuple[Floats, Floats]:
        baseline = generator.beta(2, 5, n)
        other = scale * (0.5 * baseline + 0.5 * generator.beta(2, 5, n))
        return baseline, np.where(generator.random(n) < changed, other, baseline)

    return draw


def _passes(n: int, rate: float, kept: float, gained: float) -> Draw:
    """Pass/fail pairs: `gained` is the share of all samples that only the variant passes."""

    def draw(generator: np.random.Generator) -> tuple[Floats, Floats]:
        baseline = generator.random(n) < rate
        keeps = generator.random(n) < (kept * rate - gained) / rate
        gains = generator.random(n) < gained / (1 - rate)
        return baseline.astype(float), np.where(baseline, keeps, gains).astype(float)

    return draw


def _clusters(n: int, answers: int, rate: float, kept: float) -> Draw:
    """Pass rates of several answers to a sample, which resemble each other."""

    def draw(generator: np.random.Generator) -> tuple[Floats, Floats]:
        ability = generator.beta(2 * rate, 2 - 2 * rate, n)
        tries = generator.binomial(answers, [ability, kept * ability])
        return tries[0] / answers, tries[1] / answers

    return draw


def _rates(draw: Draw, truth: float) -> tuple[float, float]:
    """Return the coverage, and how often the whole interval lies above the truth."""
    generator = np.random.default_rng(7)
    covered = above = 0
    for _ in range(STUDIES):
        found = paired_ratio(*draw(generator), 0.95, seed=0, resamples=1000)
        low = -np.inf if found.low is None else found.low
        high = np.inf if found.high is None else found.high
        covered += low <= truth <= high
        above += low > truth
    return covered / STUDIES, above / STUDIES


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        pytest.param(_similarity(164, 0.9, 0.95), 0.95, id="all-changed"),
        pytest.param(_similarity(164, 0.9, 0.7), 0.7, id="much-lost"),
        pytest.param(_similarity(164, 0.5, 0.95), 0.95, id="half-changed"),
        pytest.param(_similarity(164, 0.5, 1.0), 1.0, id="nothing-lost"),
        pytest.param(_similarity(24, 1.0, 0.95), 0.95, id="few-samples"),
        pytest.param(_passes(164, 0.3, 0.95, 0.05), 0.95, id="passes-0.3"),
        pytest.param(_passes(164, 0.6, 0.95, 0.05), 0.95, id="passes-0.6"),
        pytest.param(_clusters(100, 5, 0.3, 0.95), 0.95, id="five-answers"),
    ],
)
def test_a_95_percent_interval_of_retention_covers_93_to_97(draw: Draw, truth: float) -> None:
    coverage, _ = _rates(draw, truth)
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(_similarity(164, 0.9, MARGIN), id="all-changed"),
        pytest.param(_similarity(164, 0.1, MARGIN), id="one-in-ten-changed"),
        pytest.param(_similarity(164, 0.0501, MARGIN), id="one-in-twenty-wiped-out"),
        pytest.param(_similarity(40, 0.5, MARGIN), id="few-samples"),
        pytest.param(_passes(164, 0.07, MARGIN, 0.01), id="passes-0.07"),
        pytest.param(_passes(164, 0.07, MARGIN, 0.0), id="passes-0.07-rare-flips"),
        pytest.param(_passes(164, 0.6, MARGIN, 0.05), id="passes-0.6"),
        pytest.param(_passes(40, 0.6, MARGIN, 0.05), id="passes-0.6-few-samples"),
        pytest.param(_clusters(100, 5, 0.3, MARGIN), id="five-answers"),
    ],
)
def test_at_the_margin_at_most_5_percent_are_falsely_retained(draw: Draw) -> None:
    _, above = _rates(draw, MARGIN)
    assert above <= 0.05


def test_a_mean_of_similarities_covers_93_to_97() -> None:
    generator = np.random.default_rng(3)
    truth = 2 / 7
    ends = [
        mean_interval(generator.beta(2, 5, 164), 0.95, seed=0, resamples=1000)
        for _ in range(STUDIES)
    ]
    assert 0.93 <= np.mean([low <= truth <= high for low, high in ends]) <= 0.97


def test_a_mean_over_clusters_of_answers_covers_93_to_97() -> None:
    """Five answers to a sample resemble each other; the sample's mean is what is resampled."""
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(STUDIES):
        ability = generator.beta(0.6, 1.4, 100)
        means = generator.binomial(5, ability) / 5
        low, high = mean_interval(means, 0.95, seed=0, resamples=1000)
        covered += low <= 0.3 <= high
    assert 0.93 <= covered / STUDIES <= 0.97


@pytest.mark.parametrize("p", [0.07, 0.3, 0.55])
def test_wilson_covers_93_to_97(p: float) -> None:
    from scipy.stats import binom

    ends = [wilson(k, 164, 0.95) for k in range(165)]
    inside = np.array([low <= p <= high for low, high in ends])
    coverage = float(binom.pmf(np.arange(165), 164, p) @ inside)
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize(("windows", "drift", "noise"), [(48, 0.05, 0.05), (24, 0.01, 0.02)])
def test_retention_of_perplexity_covers_93_to_97_and_is_rarely_falsely_above(
    windows: int, drift: float, noise: float
) -> None:
    generator = np.random.default_rng(5)
    tokens = {str(i): (255.0,) for i in range(windows)}
    truth = np.exp(-drift)
    covered = above = 0
    for _ in range(STUDIES // 2):
        base = generator.normal(2.5, 0.35, windows).clip(0.5)
        worse = base + drift + noise * generator.standard_normal(windows)
        columns = (
            {s: (255 * v,) for s, v in zip(tokens, nll, strict=True)} for nll in (base, worse)
        )
        sides = [Scores({"nll": column, "tokens": tokens}) for column in columns]
        found = retention(sides[0], sides[1], "perplexity", Settings(0.95, 0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
        above += found.low > truth
    assert 0.93 <= covered / (STUDIES // 2) <= 0.97
    assert above / (STUDIES // 2) <= 0.05


def test_the_detectable_loss_is_detected_in_four_of_five_studies() -> None:
    """`detectable` of a large study tells the loss that a study of 164 samples shows in 80%."""
    kept = 0.9

    def far(draw: Draw) -> Ratio:
        return paired_ratio(*draw(np.random.default_rng(1)), 0.95, seed=0, resamples=10)

    for _ in range(8):  # the loss that is its own smallest detectable one
        large = far(_similarity(40_000, 0.5, kept))
        spread = replace(large, n=164, unseen=far(_similarity(164, 0.5, kept)).unseen)
        kept = 1 - (spread.detectable(0.95) or 0)
    generator = np.random.default_rng(8)
    shown = 0
    for _ in range(STUDIES):
        pair = _similarity(164, 0.5, kept)(generator)
        high = paired_ratio(*pair, 0.95, seed=0, resamples=1000).high
        shown += high is not None and high < 1
    assert 0.72 <= shown / STUDIES <= 0.88
