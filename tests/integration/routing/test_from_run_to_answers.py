"""From a finished run to answers: table, fit, evaluate, serve, ask, feed back, drain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.scripted_models import humaneval_model, scripted_study

from weightcut.records import CellKey
from weightcut.store.run_store import RunStore

COMMAND = [sys.executable, "-m", "weightcut"]


class Place:
    """A folder with a finished run of scripted variants; `light` has no measured speed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run, self.router = folder, folder / "run", folder / "router"
        self.environment = dict(os.environ) | {"WEIGHTCUT_HOME": str(folder / "home")}
        study = scripted_study(
            folder,
            humaneval_model(folder / "model", skill=0.9),
            tasks=[{"name": "humaneval", "limit": 40, "max_new_tokens": 1500}],
            profile={"concurrency": [1], "prompts": 1, "new_tokens": 2},
        )
        self.weightcut("run", str(study), "--out", str(self.run), "--json",
                       "--only", "full", "--only", "light", "--only", "worse")  # fmt: skip
        store = RunStore.open(self.run)
        store.clear(CellKey(variant="light", stage="profile"))
        store.close()

    def weightcut(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, check=False, env=self.environment
        )
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def fitted(place: Place) -> dict[str, Any]:
    words = ("router", "fit", str(place.run), "-o", str(place.router), "--policy", "linear")
    found: dict[str, Any] = json.loads(
        place.weightcut(*words, "--keep", "0.2", "--confidence", "0.6", "--json").stdout
    )
    return found


@pytest.fixture(scope="module")
def url(place: Place, fitted: dict[str, Any]) -> Iterator[str]:
    assert fitted["trained"]["run"]
    words = ["serve", str(place.router), "--port", "0", "--json"]
    log = (place.folder / "log").open("w")
    server = subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=log, env=place.environment
    )
    assert server.stdout is not None
    text = b""
    for line in server.stdout:
        text += line
        if line == b"}\n":
            break
    assert text, (place.folder / "log").read_text()
    yield json.loads(text)["url"]
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0
    server.stdout.close()
    log.close()


def test_variants_without_a_measured_speed_are_left_out_and_named(fitted: dict[str, Any]) -> None:
    assert fitted["variants"] == ["worse", "full"]
    assert any("light was left out" in line for line in fitted["trained"]["warnings"])
    assert fitted["allowance"] is not None


def test_tables_of_runs_tell_which_visible_tests_an_answer_passes(place: Place) -> None:
    out = place.folder / "outcomes.jsonl"
    place.weightcut("router", "table", str(place.run), "-o", str(out))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    told = [(row["tests_passed"], row["pass@1"]) for row in rows if row["tests_passed"] is not None]
    if not told:
        pytest.skip("this machine has no sandbox")
    assert len(told) > len(rows) / 3
    assert {passed for passed, _ in told} == {0.0, 1.0}
    # Whoever fails a test that the prompt shows does not pass the hidden ones.
    assert sum(hidden > passed for passed, hidden in told) <= len(told) / 50


def test_a_run_is_evaluated_with_a_cascade(place: Place) -> None:
    words = ("router", "evaluate", str(place.run), "--train", "0.7", "--splits", "2", "--json")
    found = json.loads(place.weightcut(*words, "--policy", "cascade", "--policy", "rules").stdout)
    assert found["policies"]["cascade"]["apgr"]["value"] is not None
    assert found["variants"] == ["worse", "full"]


def test_what_was_fitted_on_a_run_is_served_from_it(url: str, place: Place) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Write def add(a, b)."}]
        whole = client.chat.completions.create(model="auto", messages=messages, max_tokens=20)
        assert whole.choices[0].message.content
        assert whole.model in ("worse", "full")
        stream = client.chat.completions.create(
            model="auto", messages=messages, max_tokens=20, stream=True
        )
        pieces = [p.choices[0].delta.content or "" for p in stream if p.choices]
        assert "".join(pieces) == whole.choices[0].message.content
    verdict = {"id": whole.id, "accepted": True}
    assert httpx.post(f"{url}/v1/feedback", json=verdict).json()["variant"] == whole.model
    seen = httpx.get(f"{url}/metrics").text
    assert f'weightcut_feedback_total{{accepted="true",variant="{whole.model}"}} 1.0' in seen
    assert "Write def add" not in (place.folder / "log").read_text()
