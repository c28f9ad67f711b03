"""Every weightcut command in the docs is run as it stands, or says here why it cannot be."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.command_line import commands
from tests.docs_blocks import ROOT, blocks
from tests.scripted_models import humaneval_model
from tests.studies import QUICKSTART, example_study
from typer.testing import CliRunner

from weightcut.cli.main import app
from weightcut.sandbox import LANGUAGES, missing
from weightcut.store.run_store import RunStore
from weightcut.study.publish import publish

NOT_RUN = {
    "--install-completion": "changes the shell's start-up file",
    "--show-completion": "asks which shell it runs in; test_project.py completes words",
    "run": "takes minutes; test_tutorial.py runs a study",
    "plan": "pulls the bundled model; test_tutorial.py plans a study",
    "compress": "needs real weights; examples/compress.py is run on fake ones",
    "evaluate small": "needs real weights",
    "evaluate smollm2-135m": "needs the bundled model",
    "profile": "needs real weights",
    "tune": "takes minutes",
    "dashboard": "does not end by itself",
    "serve": "does not end by itself; test_tutorial.py serves",
    "export": "needs an MLflow server",
    "report runs/quickstart --prices": "the same as with its options in another order",
    "models pull": "may need a network",
    "doctor --model smollm2-135m": "needs the bundled model",
    "doctor --model path/to/folder": "needs real weights",
    "router recalibrate": "needs what a server has gathered",
    "router table": "needs a run with answers to real prompts; tests/integration/routing has one",
    "router evaluate": "takes a minute; test_tutorial.py evaluates one",
    "router fit runs/": "test_tutorial.py fits one on a run",
    "router fit outcomes.csv -o my-router --keep": "the same as without its defaults",
}
STAND_IN = {"path/to/folder": "model", "./my-model": "model"}


def documented() -> list[tuple[str, ...]]:
    """Every command of README and docs once, but for those of the tutorial, which has its test."""
    found = dict[tuple[str, ...], None]()
    for block in blocks():
        if block.language != "sh" or block.page == "docs/tutorial.md":
            continue
        for words in commands(block):
            while words and "=" in words[0]:
                words = words[1:]
            if words[0] == "weightcut":
                found[tuple(words[1:])] = None
    return list(found)


def reason(words: tuple[str, ...]) -> str | None:
    return next((why for start, why in NOT_RUN.items() if begins(words, start)), None)


def begins(words: tuple[str, ...], start: str) -> bool:
    return " ".join(words).startswith(start)


RUN = [words for words in documented() if reason(words) is None]


def test_what_is_not_run_is_documented_at_all() -> None:
    for start in NOT_RUN:
        assert any(begins(words, start) for words in documented()), start
    assert len(RUN) > 25


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the docs talk of."""
    folder = tmp_path_factory.mktemp("place")
    run = folder / "runs" / "quickstart"
    light = QUICKSTART[2]
    characters = (QUICKSTART[0], light, replace(light, name="small"))
    study = example_study(samples=40, windows=2, characters=characters)
    store = RunStore.create(run, study.spec)
    for key, fact in (("conditions", study.conditions), ("machine", study.machine)):
        store.remember(key, fact)
    store.remember("started", "2026-11-20T10:00:00+00:00")
    store.plan([cell.key for cell in study.cells])
    for cell in study.cells:
        store.update(cell.key, state="done", manifest=cell.manifest, seconds=cell.seconds)
        for observation in study.observations[cell.key]:
            store.add(cell.key, observation)
    store.close()
    publish(run, ("json",))
    for name in ("my-study", "monday", "tuesday"):
        shutil.copytree(run, folder / "runs" / name)
    humaneval_model(folder / "model", skill=0.9)
    humaneval_model(folder / "fake", skill=0.9)
    shutil.copytree(ROOT / "examples", folder / "examples")
    write_files(folder)
    return folder


def write_files(folder: Path) -> None:
    """Write the small files that commands name."""
    (folder / "prices.yaml").write_text("currency: EUR\nmachine_per_hour: 0.35\n")
    pair = {"id": "1", "lang": "python", "reference": "a = 1\n", "prediction": "a = 2\n"}
    (folder / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (folder / "answer.py").write_text("print(1 + 1)\n")
    main = "public static void main(String[] a) { System.out.println(2); }"
    (folder / "Answer.java").write_text(f"public class Answer {{ {main} }}\n")
    with (folder / "outcomes.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["prompt_id", "prompt", "variant", "quality", "cost"])
        for number in range(120):
            hard = number % 3 == 0
            prompt = f"{'Prove the theorem' if hard else 'Add two numbers'} {number}"
            rows.writerow([number, prompt, "light", 0 if hard else 1, 1])
            rows.writerow([number, prompt, "full", 1, 4])


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_the_command_runs(
    words: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs: dict[str, Callable[[], object]] = {
        ".java": lambda: missing("java") if "java" in LANGUAGES else "no Java",
        "bubblewrap": lambda: None if shutil.which("bwrap") else "bubblewrap is not installed",
    }
    for word, lacking in needs.items():
        if any(word in one for one in words) and (why := lacking()):
            pytest.skip(str(why))
    monkeypatch.chdir(place)
    monkeypatch.setenv("WEIGHTCUT_HOME", str(place / "home"))
    monkeypatch.setenv("WEIGHTCUT_SANDBOX_ALLOW_WEAK", "1")
    if "fit" in words:  # a router's folder is a new one
        shutil.rmtree(place / words[words.index("-o") + 1], ignore_errors=True)
    done = CliRunner().invoke(app, [STAND_IN.get(word, word) for word in words])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
