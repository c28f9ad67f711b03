"""Families that nothing was tuned on go through a whole study by reference to their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.families import make_family

from weightcut.records import Results, StudySpec
from weightcut.study.run import Event, run_study
from weightcut.study.spec import load_study


@pytest.mark.parametrize(
    "family", ["llama-untied", "llama-spaces", "qwen2", "gemma3", "gpt2", "phi"]
)
def test_a_family_goes_through_a_study(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))
    model = make_family(family, tmp_path / family)
    small = "prune-depth(layers=1, windows=2, length=64) | int8"
    spec = load_study(
        {
            "study": family,
            "model": str(model),
            "variants": {
                "full": {"engine": "transformers", "recipe": []},
                "ov-16bit": {"engine": "openvino", "recipe": []},
                "pruned-int8": {"engine": "openvino", "recipe": small},
            },
            "tasks": [
                {"name": "humaneval", "limit": 2, "max_new_tokens": 8},
                {"name": "perplexity", "limit": 2, "length": 64},
            ],
            "profile": None,
        }
    )
    results = _run(spec, tmp_path / "run")
    full, exported, pruned = results.variants
    assert exported.tasks["perplexity"]["kl"] < 5e-3
    assert pruned.tasks["perplexity"]["kl"] > exported.tasks["perplexity"]["kl"]
    assert full.tasks["humaneval"]["n"] == pruned.tasks["humaneval"]["n"] == 2
    form = results.conditions["prompt_form"]
    assert form.startswith("plain" if family in ("gpt2", "phi", "llama-spaces") else "chat")


def test_the_quickstart_goes_through_with_weights_in_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))
    model = _sharded(make_family("qwen2", tmp_path / "whole"), tmp_path / "qwen2")
    pruned = "prune-depth(layers=1, windows=2, length=64)"
    taught = "distill(steps=2, batch_size=1, length=64, validation_windows=1)"
    spec = load_study(
        "quickstart",
        {
            "model": str(model),
            "variants.pruned-int8.recipe": f'"{pruned} | int8"',
            "variants.distilled-int8.recipe": f'"{pruned} | {taught} | int8"',
            "tasks": "[{name: perplexity, limit: 2, length: 64}]",
            "keep.metric": "perplexity",
            "profile": "null",
        },
    )
    results = _run(spec, tmp_path / "run")
    assert len(results.variants) == 7
    lost = {one.name: one.tasks["perplexity"].get("kl", 0) for one in results.variants}
    assert lost["ov-16bit"] < min(lost[name] for name in ("ov-int4", "nf4", "pruned-int8"))


def _run(spec: StudySpec, out: Path) -> Results:
    """Run a study of which no cell may fail or be skipped."""
    failed: list[Event] = []
    results = run_study(
        spec,
        out,
        listen=lambda event: failed.append(event) if event.kind in ("failed", "skipped") else None,
    )
    assert not failed, [f"{event.cell}: {event.phrase}" for event in failed]
    return results


def _sharded(source: Path, out: Path) -> Path:
    """Write the model of `source` to `out`, its weights in several files with an index."""
    from weightcut.compression.files import copy_companions
    from weightcut.models.causal_lm import load_causal_lm

    load_causal_lm(source).save_pretrained(out, max_shard_size="100KB")
    copy_companions(source, out)
    assert len(list(out.glob("*.safetensors"))) > 2
    return out
