from __future__ import annotations

import ast

import numpy as np
import pytest

from weightcut.errors import BrokenInput
from weightcut.models.scripted import FILE, ScriptedModel, spoiled


def test_the_longest_key_in_the_prompt_answers():
    model = ScriptedModel(answers={"def add": "short", "def add_all": "long"}, otherwise="none")
    assert model.answer("write def add_all(", "x") == ("long", False)
    assert model.answer("write def add(", "x") == ("short", False)
    assert model.answer("write a poem", "x") == ("none", False)


def test_skill_is_a_share_and_nested():
    right = "def f():\n    return 1\n"
    samples = [f"task/{i}" for i in range(400)]

    def solved(skill: float) -> set[str]:
        model = ScriptedModel(answers={"": right}, skill=skill)
        return {s for s in samples if model.answer("p", s)[0] == right}

    assert solved(0) == set()
    assert solved(1) == set(samples)
    assert solved(0.3) < solved(0.6)
    assert len(solved(0.6)) == pytest.approx(240, abs=40)


def test_wrong_answers_parse_and_differ():
    right = "def f(x):\n    if x:\n        return x + 1\n    return 0\n"
    assert spoiled(right) != right
    ast.parse(spoiled(right))
    assert spoiled("x = 1\n") == "pass\n"


def test_rambling_is_a_share_of_the_wrong_answers():
    model = ScriptedModel(skill=0.5, ramble=1.0, answers={"": "return 1"})
    for i in range(50):
        text, rambles = model.answer("p", str(i))
        assert rambles == (text != "return 1")


def test_next_token_distributions_are_normalized_and_drift_diverges():
    base, near, far = (ScriptedModel(drift=d).next_logprobs() for d in (0.0, 0.2, 0.8))
    assert np.exp(base).sum(axis=1) == pytest.approx(np.ones(257), abs=1e-4)
    kl_near, kl_far = ((np.exp(base) * (base - q)).sum(axis=1).mean() for q in (near, far))
    # For small gaussian-like noise on the logits the divergence is close to variance / 2.
    assert kl_near == pytest.approx(0.02, rel=0.3)
    assert kl_near < kl_far
    assert (base.argmax(1) == far.argmax(1)).mean() < 1


def test_saved_and_loaded_again_it_is_the_same(tmp_path):
    model = ScriptedModel(answers={"a": "é\n"}, skill=0.4, ttft_s=0.2)
    assert ScriptedModel.load(model.save(tmp_path / "m", weight_bytes=10)) == model
    assert (tmp_path / "m" / "weights.bin").stat().st_size == 10


def test_a_bad_file_names_the_key(tmp_path):
    with pytest.raises(BrokenInput, match=FILE):
        ScriptedModel.load(tmp_path)
    (tmp_path / FILE).write_text('{"skil": 1}')
    with pytest.raises(BrokenInput, match="skil: "):
        ScriptedModel.load(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(BrokenInput):
        ScriptedModel.load(tmp_path)
