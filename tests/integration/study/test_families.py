"""Families that nothing was tuned on go through a whole study by reference to their folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.families import make_family

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
    failed: list[Event] = []
    results = run_study(
        spec,
        tmp_path / "run",
        listen=lambda event: failed.append(event) if event.kind in ("failed", "skipped") else None,
    )
    assert not failed, [f"{event.cell}: {event.phrase}" for event in failed]
    full, exported, pruned = results.variants
    assert exported.tasks["perplexity"]["kl"] < 5e-3
    assert pruned.tasks["perplexity"]["kl"] > exported.tasks["perplexity"]["kl"]
    assert full.tasks["humaneval"]["n"] == pruned.tasks["humaneval"]["n"] == 2
    form = results.conditions["prompt_form"]
    assert form.startswith("plain" if family in ("gpt2", "phi", "llama-spaces") else "chat")
