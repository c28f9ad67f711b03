from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.studies import Study, example_study
from typer.testing import CliRunner

from weightcut.cli.compare import compare
from weightcut.errors import UsageError
from weightcut.store.run_store import RunStore

app = typer.Typer()
app.command()(compare)


def _store(folder: Path, study: Study, **conditions: Any) -> str:
    store = RunStore.create(folder, study.spec)
    store.remember("conditions", {**study.conditions, **conditions})
    wanted = [c for c in study.cells if c.key.variant in ("full", "ov-int4")]
    store.plan([cell.key for cell in wanted])
    for cell in wanted:
        store.update(cell.key, state="done")
        for observation in study.observations[cell.key] if cell.key.stage == "task" else ():
            store.add(cell.key, observation)
    store.close()
    return str(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _store(tmp_path_factory.mktemp("a"), example_study(samples=30, windows=4))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _store(tmp_path_factory.mktemp("b"), example_study(3, samples=30, windows=4), seed=3)


def _invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_two_variants_of_a_run(run: str) -> None:
    output = _invoke(f"{run}:full", ":ov-int4")
    assert "right in A, wrong in B: HumanEval/" in output
    assert "largest changes of codebleu" in output
    assert "perplexity" in output


def test_json_has_every_sample(run: str) -> None:
    data = json.loads(_invoke(f"{run}:full", f"{run}:ov-int4", "--json"))
    (comparison,) = data["comparisons"]
    assert data["unlike"] == []
    assert len(comparison["tasks"]["humaneval"]["samples"]) == 30


def test_two_runs_share_their_variants_and_unlike_conditions_are_refused(
    run: str, other: str
) -> None:
    with pytest.raises(UsageError, match="seed: 0 against 3"):
        _invoke(run, other)
    data = json.loads(_invoke(run, other, "--allow-unlike", "--json"))
    assert data["unlike"] == ["seed: 0 against 3"]
    assert len(data["comparisons"]) == 7


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (":ov-int5", "did you mean 'ov-int"),
        (":full", "same variant"),
        ("/nowhere:full", "no run here"),
    ],
)
def test_wrong_usage(run: str, second: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _invoke(f"{run}:full", second)


def test_the_same_run_twice(run: str) -> None:
    with pytest.raises(UsageError, match="same run twice"):
        _invoke(run, run)
