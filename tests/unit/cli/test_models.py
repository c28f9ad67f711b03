"""`weightcut models` at its edges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.gguf_files import write_gguf
from typer.testing import CliRunner

from weightcut.cli.models import app
from weightcut.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTCUT_HOME", str(tmp_path / "home"))


def test_list_tells_what_is_there_and_what_to_know_of_it() -> None:
    text = CliRunner().invoke(app, ["list"]).stdout
    assert "smollm2-135m: SmolLM2-135M-Instruct" in text
    assert "93 MB to pull" in text
    assert "4-bit grid" in text
    rows = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert {row["name"]: row["cached"] for row in rows}["smollm2-135m"] is False


def test_pull_and_show_a_gguf_file(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    pulled = CliRunner().invoke(app, ["pull", str(tmp_path / "tiny.gguf")])
    assert "dequantizing tiny.gguf" in pulled.stderr
    assert "M weights" in pulled.stdout
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "tiny.gguf"), "--json"])
    found = json.loads(shown.stdout)
    assert (found["model_type"], found["layers"], found["tied_embeddings"]) == ("llama", 2, True)
    assert found["chat_template"] is True
    assert shown.stderr == ""


def test_show_a_scripted_folder(tmp_path: Path) -> None:
    (tmp_path / "scripted.json").write_text("{}")
    assert "vocabulary: 257" in CliRunner().invoke(app, ["show", str(tmp_path)]).stdout


def test_an_unknown_model_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["pull", "smollm3"])
    assert isinstance(result.exception, UsageError)


@pytest.mark.parametrize("command", ["list", "pull", "show"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: weightcut models {command}" in " ".join(
        CliRunner().invoke(app, [command, "--help"]).stdout.split()
    )
