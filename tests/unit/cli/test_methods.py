"""`weightcut methods`: all methods, their settings, and whether they can run here."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from weightcut import registry
from weightcut.cli.main import app
from weightcut.errors import UsageError
from weightcut.hardware import fits


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["methods", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def rows() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(run("--json"))}


def test_every_registered_method_is_listed_with_all_there_is_to_know() -> None:
    found = rows()
    assert set(found) == set(registry.names("method"))
    for name, row in found.items():
        assert row["summary"].endswith("."), name
        assert row["accepts"], name
        assert row["engines"], name
        assert all(one["description"] for one in row["settings"]), name
        assert row["paper"] is None or row["paper"].startswith("https://"), name
        assert row["runs_here"] == (row["verdict"] != "not-here"), name
        assert (row["reason"] is None) == (row["verdict"] == "works"), name


def test_what_is_said_is_so() -> None:
    gptq = rows()["gptq"]
    assert (gptq["bits"], gptq["accepts"], gptq["produces"]) == (4, ["hf"], "hf")
    assert gptq["needs"] == ["calibration text"]
    assert gptq["extra"] == "compress"
    assert gptq["paper"] == "https://arxiv.org/abs/2210.17323"
    assert {one["name"]: one["default"] for one in gptq["settings"]}["group_size"] == 128
    assert rows()["distill"]["needs"] == ["training text"]
    assert rows()["torchao-int4"]["produces"] == "torch"


def test_one_method_shows_its_settings() -> None:
    text = run("torchao-int4")
    assert "group_size = 64  (32 or 64 or 128 or 256): weights that share a scale" in text
    assert "opened by: transformers" in text


def test_what_is_missing_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fits, "_installed", lambda package: package != "llmcompressor")
    row = rows()["gptq"]
    assert row["runs_here"] is False
    assert row["reason"] == (
        "the package 'llmcompressor' is not installed (pip install \"weightcut[compress]\")"
    )
    assert "not here: the package 'llmcompressor'" in run()
    assert rows()["bnb-nf4"]["runs_here"] is True


def test_a_method_of_an_outside_package_that_cannot_be_imported_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "METHODS", {"lost": "no_such_package:Method"})
    monkeypatch.setattr(registry, "_TABLES", {**registry._TABLES, "method": registry.METHODS})
    registry.names.cache_clear()
    try:
        text = run()
    finally:
        registry.names.cache_clear()
    assert "lost" in text
    assert "No module named 'no_such_package'" in text


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'gptq'"):
        CliRunner().invoke(app, ["methods", "gtpq"], catch_exceptions=False)


def test_listing_imports_no_library_that_compresses() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from weightcut.cli.main import app\n"
        "assert CliRunner().invoke(app, ['methods']).exit_code == 0\n"
        "print([m for m in ('torch', 'transformers', 'openvino', 'torchao', 'llmcompressor')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
