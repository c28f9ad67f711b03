from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.outcomes import table

from weightcut.errors import BrokenInput, UsageError
from weightcut.records import digest
from weightcut.routing.calibrate import break_even, choose
from weightcut.routing.encoder import Corpus
from weightcut.routing.files import FACTS, WEIGHTS, write_router
from weightcut.routing.fit import (
    fit_router,
    foresee,
    parts,
    saved_shares,
    shares_of,
    training_rows,
)
from weightcut.routing.router import Router, Signals, load_router


@pytest.fixture(scope="module")
def router() -> Router:
    return fit_router(table(600, 3), "linear", keep=0.8, confidence=0.9)


@pytest.fixture
def folder(router: Router, tmp_path: Path) -> Path:
    return write_router(router, tmp_path / "router")


def test_it_sends_short_prompts_to_lighter_variants(router: Router) -> None:
    assert router.allowance is not None
    assert router.promise["kept"] >= 0.8
    easy = router.decide("Write a function 1 that can sort")
    hard = router.decide("Write a function 1 that can " + "sort list tree graph " * 4)
    order = router.variants.index
    assert order(easy.variant) < order(hard.variant)
    assert router.need_full_model("sort") < router.need_full_model("sort list tree graph " * 4)
    assert set(easy.scores) == set(router.variants)
    assert all(0 <= score <= 1 for score in easy.scores.values())
    assert "threshold" in easy.reason


@pytest.mark.parametrize("policy", ["linear", "rules"])
def test_decisions_are_those_that_were_calibrated(policy: str) -> None:
    """At the exact break-even prices, too, where a whole step of prompts goes one way or other."""
    router = fit_router(table(600, 3), policy, keep=0.8, confidence=0.9)
    prompts = table(60, 3, seed=8).prompts
    predicted = np.array([router.policy.predict(p) for p in prompts])
    saved = saved_shares(np.array(router.costs))
    prices = np.unique(break_even(predicted, saved))
    for allowance in (router.allowance, *prices[:: max(1, len(prices) // 60)]):
        chosen = choose(predicted, saved, np.array([allowance]))[:, 0]
        at = router.with_allowance(float(allowance), {})
        assert [at.decide(p).variant for p in prompts] == [router.variants[v] for v in chosen]


def test_a_stored_router_decides_alike(router: Router, folder: Path) -> None:
    again = load_router(folder)
    assert again.thresholds == router.thresholds
    assert again.promise == dict(router.promise)
    for prompt in table(20, 3, seed=7).prompts:
        assert again.decide(prompt) == router.decide(prompt)


def test_without_a_promise_everything_goes_to_the_full_model(router: Router) -> None:
    found = replace(router, allowance=None)
    assert found.decide("sort").variant == "v2"
    assert all(math.isinf(t) for t in found.thresholds.values())


def test_a_router_is_never_written_over(router: Router, folder: Path) -> None:
    with pytest.raises(UsageError, match="already there"):
        write_router(router, folder)


def _edit(folder: Path, *, sign: bool, **changes: object) -> None:
    data = json.loads((folder / FACTS).read_text())
    data |= changes
    if sign:
        own = {k: v for k, v in data.items() if k not in ("format", "version", "digest")}
        data["digest"] = digest(own)
    (folder / FACTS).write_text(json.dumps(data))


def test_another_version_is_refused_with_both_numbers(folder: Path) -> None:
    _edit(folder, sign=False, version=1)
    with pytest.raises(BrokenInput, match=r"version 1.*version 3"):
        load_router(folder)


@pytest.mark.parametrize("changes", [{"allowance": 1.0}, {"costs": [9, 9, 9]}, {"extra": 1}])
def test_a_hand_edit_is_noticed(folder: Path, changes: dict[str, object]) -> None:
    _edit(folder, sign=False, **changes)
    with pytest.raises(BrokenInput, match="digest"):
        load_router(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"variants": ["v0", "v1"]},
        {"variants": ["v0", "v0", "v2"]},
        {"policy": "boosted"},
        {"policy": "os.system"},
        {"settings": {"heads": ["knn"]}},
        {"allowance": "much"},
        {"costs": [1, -4, 9]},
        {"costs": [9, 4, 1]},
        {"weights": "00"},
    ],
)
def test_a_fitting_digest_does_not_make_a_wrong_file_right(
    folder: Path, changes: dict[str, object]
) -> None:
    _edit(folder, sign=True, **changes)
    with pytest.raises(BrokenInput):
        load_router(folder)


@pytest.mark.parametrize("name", [FACTS, WEIGHTS])
@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"[]", b"{" * 10_000, b"PK\x03\x04 junk"])
def test_damaged_files_are_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(BrokenInput):
        load_router(folder)


def test_pickles_are_not_loaded(folder: Path) -> None:
    import hashlib

    path = folder / WEIGHTS
    with path.open("wb") as stream:
        np.savez(stream, evil=np.array([object()], dtype=object))
    _edit(folder, sign=True, weights=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(BrokenInput):
        load_router(folder)


def test_packed_weights_that_are_damaged_within_are_refused(folder: Path) -> None:
    import hashlib
    import zipfile

    path = folder / WEIGHTS
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.npy", bytes(range(256)) * 100)
    data = bytearray(path.read_bytes())
    data[40:48] = bytes(byte ^ 0xFF for byte in data[40:48])
    path.write_bytes(data)
    _edit(folder, sign=True, weights=hashlib.sha256(data).hexdigest())
    with pytest.raises(BrokenInput):
        load_router(folder)


def test_a_folder_without_a_router_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no router here"):
        load_router(tmp_path)


def test_too_few_rows_and_senseless_promises_are_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        fit_router(table(19))
    for keep, confidence in ((0, 0.9), (1.1, 0.9), (float("nan"), 0.9), (0.9, 1), (0.9, 0)):
        with pytest.raises(UsageError, match="--"):
            fit_router(table(30), keep=keep, confidence=confidence)


def test_the_same_prompt_again_and_again_is_one_prompt() -> None:
    made = table(60)
    with pytest.raises(UsageError, match="1 different prompts"):
        fit_router(replace(made, prompts=("the same",) * 60))
    mostly = (*made.prompts[:20], *("the same",) * 40)
    assert fit_router(replace(made, prompts=mostly), "linear").variants == ("v0", "v1")


def test_copies_of_a_prompt_promise_no_more_than_one_of_it() -> None:
    made = table(40)
    rows = np.repeat(np.arange(40), 25)
    good = replace(made.take(rows), quality=np.ones((1_000, 2)))
    found = fit_router(good, "length")
    assert found.promise["prompts"] <= 20
    assert found.allowance is None


def test_equal_costs_are_named_as_the_reason() -> None:
    made = table(40)
    found = fit_router(replace(made, cost=np.ones_like(made.cost)), "linear")
    assert "cost the same" in found.promise["says"]
    assert found.allowance is None


def test_the_smallest_table_still_gives_a_router() -> None:
    found = fit_router(table(20))
    assert found.decide("anything").variant in found.variants


def test_constant_labels_send_everything_to_the_cheapest_or_say_why_not() -> None:
    made = table(400)
    good = fit_router(replace(made, quality=np.ones_like(made.quality)), "linear")
    assert good.decide("anything").variant == "v0"
    bad = fit_router(replace(made, quality=np.zeros_like(made.quality)), "linear")
    assert bad.decide("anything").variant == "v1"
    assert "nothing can be promised" in bad.promise["says"]


def test_a_cascade_keeps_good_answers_and_escalates_bad_ones() -> None:
    made = table(1_500)
    found = fit_router(made, "cascade", keep=0.8, confidence=0.9)
    assert found.cascades
    assert found.decide(made.prompts[0]).variant == "v0"
    prompt = "Write a function 3 that can sort list tree graph"
    assert found.accepts(prompt, "v0", Signals(mean_logprob=-0.5, parses=True))
    assert not found.accepts(prompt, "v0", Signals(mean_logprob=-1.5, parses=False))
    assert found.accepts(prompt, "v1", Signals())
    # What is served is what was evaluated and calibrated, answer by answer.
    some = made.take(np.arange(60))
    seen = foresee(found.policy, Corpus.of(some.prompts), some)
    shares = shares_of(found.policy, saved_shares(some.costs))
    chosen = choose(seen.predicted, shares, np.array([found.allowance]))[:, 0]
    for row, prompt in enumerate(some.prompts):
        told = {name: values[row, 0] for name, values in some.signals.items()}
        signals = Signals(told["mean_logprob"], bool(told["parses"]))
        assert found.accepts(prompt, "v0", signals) == (chosen[row] == 0)
    assert 0 < chosen.mean() < 1


def test_parts_keep_groups_together_and_lose_nothing() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
    for seed in range(20):
        first, rest = parts(groups, 5, seed)
        assert sorted([*first, *rest]) == list(range(10))
        assert not set(groups[first]) & set(groups[rest])
        assert len(first) <= 5


def test_calibration_gets_a_fifth_or_a_thousand() -> None:
    assert [n - training_rows(n) for n in (100, 1_500, 3_000, 11_000)] == [50, 750, 1_000, 2_200]


def test_thresholds_leave_room_for_what_is_saved(router: Router) -> None:
    assert router.allowance is not None
    shares = saved_shares(np.array(router.costs))
    for name, share in zip(router.variants[:-1], shares, strict=False):
        assert router.thresholds[name] == pytest.approx(0.5 - 0.5 * router.allowance * share)


def test_corpus_rows_are_those_asked_for() -> None:
    corpus = Corpus.of(["a b c", "d e f", "g h i"])
    assert len(corpus.take(np.array([2, 0]))) == 2
