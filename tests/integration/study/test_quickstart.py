"""The real command on a small cut of the quickstart, on the bundled model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.model
def test_a_small_cut_of_the_quickstart(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "weightcut", "run", "quickstart", "--out", str(out),
        "--only", "ov-16bit", "--only", "ov-int8", "--limit", "3",
        "--set", "tasks.0.max_new_tokens=48", "--set", "tasks.1.length=128",
        "--set", "profile.prompts=2", "--set", "profile.new_tokens=8",
        "--set", "profile.concurrency=[1, 4]",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report:" in done.stdout
    results = json.loads((out / "results.json").read_text())
    variants = {variant["name"]: variant for variant in results["variants"]}
    full, same, int8 = (variants[name] for name in ("full", "ov-16bit", "ov-int8"))
    for variant in (full, same, int8):
        assert variant["tasks"]["humaneval"]["n"] == 3
        assert variant["tasks"]["perplexity"]["value"] > 1
        assert variant["profile"]["tokens_per_s"].keys() == {"1", "4"}
        assert variant["profile"]["peak_rss_bytes"] > 100e6
        assert variant["artifact_bytes"] > 100e6
    assert same["tasks"]["perplexity"]["kl"] < 5e-3
    assert same["tasks"]["perplexity"]["value"] == pytest.approx(
        full["tasks"]["perplexity"]["value"], rel=0.02
    )
    assert int8["artifact_bytes"] < 0.6 * same["artifact_bytes"]
    assert int8["verdict"] == "undecided", "three samples decide nothing"
    assert results["conditions"]["prompt_form"] == "chat template"
    assert any("4-bit grid" in note for note in results["conditions"]["model"]["notes"])
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(again.stdout) == results
