"""`weightcut doctor`: readable at 80 columns, whole as JSON, and never more than advice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from weightcut import registry
from weightcut.cli.main import app
from weightcut.errors import UsageError
from weightcut.hardware import fits, probe

H100 = {
    "name": "NVIDIA H100 80GB HBM3",
    "memory_bytes": 81559 << 20,
    "compute_capability": "9.0",
    "driver": "550.54.15",
}
ODD = {"name": "[red]Odd", "memory_bytes": None, "compute_capability": "new", "driver": "[N/A]"}


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["doctor", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def report(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json"))
    return found


def test_everything_registered_is_judged_on_every_device() -> None:
    found = report("--gpu", "M40", "--model", "7B")
    assert [one["kind"] for one in found["devices"]] == ["cpu", "gpu"]
    judged = {(one["kind"], one["name"]): one["verdicts"] for one in found["parts"]}
    for kind in ("method", "engine"):
        for name in registry.names(kind):
            assert len(judged[kind, name]) == 2
    assert judged["method", "bnb-nf4"][1]["verdict"] == "not-here"
    assert found["card"]["name"] == "Tesla M40"
    assert found["model"]["parameters"] == 7_000_000_000
    assert found["recipes"]
    assert found["sandbox"]["protections"]


@pytest.mark.parametrize("words", [(), ("--model", "350M"), ("--gpu", "rtx 4090", "-m", "1.1b")])
def test_it_is_readable_at_80_columns(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run(*words)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for name in (*registry.names("method"), *registry.names("engine")):
        assert name in text


def test_reasons_are_told_once_with_cure_and_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    text = run("--gpu", "Tesla M40")
    assert text.count("need compute capability 6.0 or more; this is 5.2") == 1
    assert "Instead: LoRA at 16 bit with offload, or GPTQ on the CPU" in text
    assert "https://github.com/bitsandbytes-foundation/bitsandbytes" in text


def test_gpus_of_this_machine_are_judged_as_the_driver_tells_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(probe, "gpus", lambda: (H100, H100, ODD))
    found = report("--model", "7B")
    _, first, odd = found["devices"]
    assert first["bandwidth_bytes_per_s"] == 3350e9
    assert first["formats"] == ["fp16", "bf16", "int8", "fp8"]
    assert odd["compute_capability"] is None
    text = run("--model", "7B")
    assert "[red]Odd" in text
    assert "driver 550.54.15" in text
    assert "version 580 of the driver or a newer one; this is 550" in json.dumps(found)


def test_what_is_missing_is_told_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(fits, "_installed", lambda _package: False)
    text = run("--model", "7B")
    assert "Nothing fits" in text
    assert 'pip install "weightcut[compress]"' in text


@pytest.mark.parametrize("words", [("--gpu", "M400"), ("--gpu", ""), ("--model", "0B")])
def test_wrong_usage_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["doctor", *words], catch_exceptions=False)


def test_it_imports_no_library_that_compresses_or_runs_models() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from weightcut.cli.main import app\n"
        "assert CliRunner().invoke(app, ['doctor', '--model', '7B']).exit_code == 0\n"
        "print([m for m in ('torch', 'transformers', 'openvino', 'torchao', 'llmcompressor')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_docs_has_the_keys_of_today() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "doctor.md").read_text()
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    found = report("--gpu", "Tesla M40", "--model", "7B")
    assert list(example) == list(found)
    assert set(example["parts"][0]["verdicts"][0]) == set(found["parts"][0]["verdicts"][0])
    for one in ("devices", "recipes"):
        assert list(example[one][0]) == list(found[one][0])
    assert example["card"] == found["card"]
