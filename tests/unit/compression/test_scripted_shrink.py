from __future__ import annotations

import pytest

from weightcut.compression.method import Context, Method
from weightcut.compression.scripted_shrink import ScriptedShrink
from weightcut.models.scripted import ScriptedModel


def shrink(tmp_path, method: ScriptedShrink, **fields: float) -> ScriptedModel:
    source = ScriptedModel(**fields).save(tmp_path / "source", weight_bytes=1000)
    context = Context(
        origin=source, texts=lambda *_: pytest.fail("no text is needed"), scratch=source
    )
    out = tmp_path / "out"
    out.mkdir()
    method.compress(source, out, context)
    assert context.record
    return ScriptedModel.load(out)


def test_it_is_a_method():
    assert isinstance(ScriptedShrink(), Method)


def test_known_losses_and_gains(tmp_path):
    method = ScriptedShrink(skill_lost=0.25, speedup=4, size=0.5, drift=0.1, ramble=0.5)
    small = shrink(tmp_path, method, skill=0.75, ttft_s=0.2, tpot_s=0.02, drift=0.2)
    assert small.skill == 0.5
    assert small.ramble == 0.5
    assert (small.ttft_s, small.tpot_s) == (0.05, 0.005)
    assert small.drift == pytest.approx(0.3)
    assert (tmp_path / "out" / "weights.bin").stat().st_size == 500


def test_defaults_change_nothing_and_skill_ends_at_zero(tmp_path):
    assert shrink(tmp_path, ScriptedShrink(), ramble=0.3) == ScriptedModel(ramble=0.3)
    (tmp_path / "b").mkdir()
    assert shrink(tmp_path / "b", ScriptedShrink(skill_lost=1), skill=0.4).skill == 0
